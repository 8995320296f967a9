import contextlib
import os
import shutil
import socket
import stat
import subprocess
import threading

import pytest

from engine.build.ssh_agent import serve
from engine.errors import BuildFailed, OperationFailed

LIST = b"\0\0\0\1\x0b"
"""SSH_AGENTC_REQUEST_IDENTITIES (draft-miller-ssh-agent)."""


def ask(path, request):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(request)
        return client.recv(4096)


def test_a_relay(tmp_path):
    with socket.socket(socket.AF_UNIX) as agent, contextlib.ExitStack() as stack:
        agent.bind(str(tmp_path / "upstream"))
        agent.listen()

        def answer():
            for _ in range(2):
                connection = agent.accept()[0]
                connection.sendall(connection.recv(100).upper())
                connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        path = serve(stack, str(tmp_path), [str(tmp_path / "upstream")], owner=(5, 6), mode=0o600)
        status = os.stat(path)
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o600, 5, 6)
        assert [ask(path, b"one"), ask(path, b"two")] == [b"ONE", b"TWO"]
        thread.join()
    assert os.listdir(tmp_path) == ["upstream"]


@pytest.mark.skipif(not shutil.which("ssh-agent"), reason="needs OpenSSH's client")
def test_keys(tmp_path):
    for name in ("one", "two"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", tmp_path / name], check=True)
    folder = tmp_path / "folder"
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        path = serve(stack, str(folder), [str(tmp_path / "one"), str(tmp_path / "two")], owner=(0, 0), mode=0o600)
        answer = ask(path, LIST)
        assert (answer[4], int.from_bytes(answer[5:9], "big")) == (12, 2)
    assert os.listdir(folder) == []


def test_wrong_sources(tmp_path):
    (tmp_path / "key").write_text("no key")
    with contextlib.ExitStack() as stack:
        for source, error in (("gone", OperationFailed), (".", BuildFailed), ("key", BuildFailed)):
            with pytest.raises(error):
                serve(stack, str(tmp_path), [str(tmp_path / source)], owner=(0, 0), mode=0o600)
