"""One supervisor at a time, on a socket that only its user may use."""

import os
import stat
import subprocess
import sys

import pytest

from composer.run import control
from composer.run.control import Control
from composer.run.protocol import End, Failure, Frames, Step, event_of, frame


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / ("long" * 20) / "p" / "supervisor.sock")


def test_the_socket_is_for_its_user_only(path):
    own = Control.open(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    client = control.connect(path)
    assert control.peer_is_us(own.listener.accept()[0])
    client.close()


def test_only_one(path):
    own = Control.open(path)
    code = f"from composer.run.control import Control; print(Control.open({path!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"
    own.close()


def test_the_next_one_waits_until_the_last_has_left(path):
    own = Control.open(path)
    own.close()  # it does not listen any more, and still holds the lock
    code = f"from composer.run.control import Control; print(Control.open({path!r}) is not None)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    os.close(own._lock)
    assert process.communicate(timeout=10)[0] == "True\n"


def test_a_dead_ones_socket_is_replaced(path):
    code = f"import os; from composer.run.control import Control; Control.open({path!r}); os._exit(9)"
    subprocess.run([sys.executable, "-c", code], check=False)
    assert os.path.exists(path)
    with pytest.raises(ConnectionRefusedError):
        control.connect(path)
    assert Control.open(path) is not None


def test_frames_in_pieces():
    events = [Step(kind="k", name="n", state="done"), End(failures=(Failure(message="é" * 100),), last=True)]
    data = b"".join(map(frame, events))
    frames = Frames()
    found = [event_of(one) for index in range(len(data)) for one in frames.feed(data[index : index + 1])]
    assert found == events
    with pytest.raises(ValueError, match="frame of"):
        list(Frames().feed(b"\xff\xff\xff\xff"))
