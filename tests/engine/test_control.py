"""One process listens at a control socket, and only its user may connect."""

import os
import stat
import subprocess
import sys

import pytest

from engine import control
from engine.errors import OperationFailed, OtherVersion

LISTEN = "from engine import control; lock = control.claim({0!r}); print(lock is not None)"


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / ("long" * 20) / "p" / "own.sock")


def test_the_socket_is_for_its_user_only(path):
    control.claim(path)
    with control.listen(path) as listener, control.connect(path) as client:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        accepted, _ = listener.accept()
        with accepted:
            assert control.peer_is_us(accepted)
        assert control.peer(client) == (os.getpid(), os.getuid())


def test_second_claim_is_refused(path):
    control.claim(path)
    with control.listen(path):
        done = subprocess.run(
            [sys.executable, "-c", LISTEN.format(path)], capture_output=True, text=True, check=True, timeout=20
        )
        assert done.stdout == "False\n"


def test_the_next_one_waits_until_the_last_has_left(path):
    lock = control.claim(path)
    control.listen(path).close()  # it no longer listens, but still holds the lock
    process = subprocess.Popen([sys.executable, "-c", LISTEN.format(path)], stdout=subprocess.PIPE, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    os.close(lock)
    assert process.communicate(timeout=10)[0] == "True\n"


def test_a_dead_ones_socket_is_replaced(path):
    code = f"{LISTEN.format(path)}; control.listen({path!r}); import os; os._exit(9)"
    subprocess.run([sys.executable, "-c", code], check=False)
    assert os.path.exists(path)
    assert not control.listens(path)
    assert control.claim(path) is not None
    with control.listen(path):
        assert control.listens(path)


def test_the_folder_may_go_while_we_come(path, monkeypatch):
    """An exiting process removes it after we have found it and before we open a file there."""
    make, left = os.makedirs, ["after it was made", "before it was looked at"]

    def makedirs(name, **options):
        make(name, **options)
        if left:
            os.rmdir(name)
            if left.pop(0).startswith("before"):
                raise FileExistsError(name)

    monkeypatch.setattr(os, "makedirs", makedirs)
    os.close(control.create(f"{os.path.dirname(path)}/supervisor.log", os.O_WRONLY))
    left.append("after it was made")
    os.remove(f"{os.path.dirname(path)}/supervisor.log")
    assert control.claim(path) is not None


@pytest.mark.parametrize("theirs", ["1", ""])
def test_other_version_is_refused(path, theirs):
    control.claim(path, theirs)
    with control.listen(path) as listener:
        control.connect(path, theirs).close()
        listener.accept()[0].close()
        with pytest.raises(OtherVersion, match=f"process {os.getpid()}, which listens on own.sock, uses version"):
            control.connect(path, "2")
        listener.accept()[0].close()
        control.connect(path).close()


def test_the_version_is_that_of_the_current_listener(path):
    os.close(control.claim(path, "long ago"))
    control.claim(path, "2")
    with control.listen(path):
        control.connect(path, "2").close()


def test_the_listener_is_killed(path):
    code = f"{LISTEN.format(path)}; own = control.listen({path!r}); import signal; signal.pause()"
    with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        while not control.listens(path):
            assert process.poll() is None
        control.end(path)
        assert process.wait(0) == -9
    control.end(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_socket_of_another_user_is_not_used(path):
    """The credentials are those of the process that called listen(2)."""
    control.claim(path)
    with control.listen(path) as listener:
        pid = os.fork()
        if pid == 0:
            os.setresuid(12345, 12345, 12345)
            listener.listen(1)
            os._exit(0)
        os.waitpid(pid, 0)
        with pytest.raises(OperationFailed, match="the process that listens there is another user's"):
            control.connect(path)
