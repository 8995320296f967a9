"""exec on a real pseudo-terminal: keys, window sizes and exit codes pass through."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from composer.cli.commands.exec import environment
from composer.cli.errors import UsageError
from composer.cli.terminal.tty import parse_keys
from composer.detach import Detach

PROGRAM = [sys.executable, str(Path(__file__).with_name("local_engine.py"))]
ENVIRON = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


class Session:
    """`composer …` on a terminal of 100 by 30."""

    def __init__(self, *words: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(PROGRAM[0], [*PROGRAM, *words], ENVIRON)
        self.resize(30, 100)
        self.seen = b""
        self._alarm = threading.Timer(20, lambda: os.kill(self.pid, signal.SIGKILL))
        self._alarm.start()

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, text: bytes) -> bytes:
        """Read until `text` has been written; returns the output since the last call."""
        while text not in self.seen:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            assert data, f"ended without {text!r}: {self.seen!r}"
            self.seen += data
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def type(self, data: bytes) -> None:
        os.write(self.fd, data)

    def end(self) -> int:
        try:
            while data := os.read(self.fd, 65536):
                self.seen += data
        except OSError:
            pass
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._alarm.cancel()
        os.close(self.fd)
        return code


def test_a_terminal_of_its_own_with_our_size_and_its_changes() -> None:
    script = "trap 'stty size; exit 7' WINCH; stty size; echo ready; while :; do read -r line; done"
    session = Session("exec", "web", "sh", "-c", script)
    assert b"30 100" in session.until(b"ready")
    session.resize(40, 120)
    assert b"40 120" in session.until(b"120")
    session.type(b"\n")
    assert session.end() == 7


def test_ctrl_c_is_a_key_for_the_process() -> None:
    session = Session(
        "exec", "web", "sh", "-c", "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.05; done"
    )
    session.until(b"ready")
    session.type(b"\x03")
    session.until(b"caught")
    assert session.end() == 3


def test_detach_keys_keep_the_process_running() -> None:
    session = Session("exec", "web", "sh", "-c", "echo $$ ready; while :; do read -r line; done")
    pid = int(session.until(b"ready").split()[0])
    session.type(b"\x10\x11")
    assert session.end() == 0
    assert Path(f"/proc/{pid}").exists() is False or os.kill(pid, signal.SIGKILL) is None


def test_terminal_input_is_unchanged() -> None:
    session = Session("exec", "web", "cat")
    session.type("grüße\n".encode())
    session.until("grüße\r\ngrüße\r\n".encode())
    session.type(b"\x04")
    assert session.end() == 0


def run(*words: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*PROGRAM, *words], input=input, capture_output=True, env=ENVIRON, timeout=20, check=False)


def test_without_a_terminal_the_process_has_our_descriptors() -> None:
    done = run("exec", "web", "sh", "-c", "cat; echo oh >&2; exit 5", input=b"\x00\xff bytes")
    assert (done.stdout, done.stderr, done.returncode) == (b"\x00\xff bytes", b"oh\n", 5)


def test_flags_after_the_command_are_the_commands() -> None:
    assert run("exec", "-T", "-e", "A=b", "web", "sh", "-c", 'echo "$A $0"', "-T").stdout == b"b -T\n"


def test_a_service_that_is_not_running() -> None:
    done = run("exec", "--index", "3", "web", "true")
    assert (done.returncode, done.stderr) == (1, b'service "web" is not running container #3\n')


def test_environment() -> None:
    assert environment(["A=1", "B", "C", "D="], {"B": "2"}) == {"A": "1", "B": "2", "D": ""}
    with pytest.raises(UsageError):
        environment(["=x"], {})


def test_detach_keys() -> None:
    detach = Detach(parse_keys("ctrl-p,ctrl-q"))
    assert detach.feed(b"a\x10") == (b"a", False)
    assert detach.feed(b"b") == (b"\x10b", False)
    assert detach.feed(b"c\x10") == (b"c", False)
    assert detach.feed(b"\x11d") == (b"", True)
    assert parse_keys("a,ctrl-[,DEL") == b"a\x1b\x7f"
    for wrong in ("ctrl-", "ctrl-1", "ctrl-P", "ab", "a,,b"):
        with pytest.raises(UsageError):
            parse_keys(wrong)
