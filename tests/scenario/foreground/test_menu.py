"""The keys of `up` on a terminal."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time

import pytest

PROJECT = """
services:
  one:
    image: busybox
    command: [sh, -c, 'echo begun; exec sleep 1000']
    init: true
    stop_grace_period: 1s
    develop: {watch: [{action: sync, path: ./src, target: /src}]}
  two: {image: busybox, command: [sh, -c, 'echo also; exec sleep 1000'], init: true, stop_grace_period: 1s}
"""
MENU = "v View   o View Config   w {} Watch   d Detach"


class Terminal:
    def __init__(self, composer, *words):
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (24, 100))
        self.before = termios.tcgetattr(self.slave)
        self.shown = ""
        self.process = subprocess.Popen(
            composer.command(*words), cwd=composer.folder, env={**composer.environ, "TERM": "xterm", "NO_COLOR": "1"},
            stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip

    def until(self, text, timeout=30):
        """Read until the text has been shown since the last call."""
        deadline = time.monotonic() + timeout
        while text not in self.shown:
            ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{text!r} not in {self.shown!r}"
            self.shown += os.read(self.master, 65536).decode(errors="replace")
        before, _, self.shown = self.shown.partition(text)
        return before + text

    def type(self, keys):
        os.write(self.master, keys.encode())

    def end(self):
        while self.process.poll() is None:
            if select.select([self.master], [], [], 0.05)[0]:
                self.shown += os.read(self.master, 65536).decode(errors="replace")
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for fd in (self.master, self.slave):
            with contextlib.suppress(OSError):
                os.close(fd)


@pytest.fixture
def up(composer):
    composer.write({"src/file": "old"}, compose=PROJECT)
    opened = []

    def start(*words):
        opened.append(Terminal(composer, "up", *words))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def test_keys(composer, up):
    terminal = up()
    terminal.until("Attaching to")
    terminal.until(MENU.format("Enable"))
    terminal.type("v")
    terminal.until("PORTS")
    terminal.until(f"{composer.name}-two-1")
    assert "Up " in terminal.until("\n")
    terminal.type("o")
    terminal.until("services:\r\n  one:")
    terminal.type("w")
    terminal.until("Watch enabled")
    terminal.until(MENU.format("Disable"))
    (composer.folder / "src/file").write_text("new")
    terminal.until("Syncing service")
    assert composer("exec", "-T", "one", "cat", "/src/file").out == "new"
    terminal.type("w")
    terminal.until("Watch disabled")
    terminal.type("x")  # not a key of the menu
    terminal.type("d")
    assert terminal.end() == 0
    assert termios.tcgetattr(terminal.slave) == terminal.before
    assert terminal.shown.endswith("\x1b[K")  # the menu is gone
    assert composer.ps()["one"][0]["State"] == composer.ps()["two"][0]["State"] == "running"


def test_ctrl_c_stops(composer, up):
    terminal = up()
    terminal.until("Detach")
    terminal.type("\x03")
    terminal.until("Gracefully Stopping")
    assert terminal.end() == 0
    assert "Detach" not in terminal.shown
    assert termios.tcgetattr(terminal.slave) == terminal.before
    assert not composer.ps()


def test_ctrl_c_twice_kills(composer, up):
    composer.write(
        compose="services: {a: {image: busybox, command: [sh, -c, 'trap : TERM; echo begun; while :; do sleep 1; done']}}"
    )
    terminal = up()
    terminal.until("begun")
    terminal.until("Detach")
    terminal.type("\x03")
    terminal.until("Gracefully Stopping")
    terminal.until("Stopping")
    terminal.type("\x03")
    terminal.until("exited with code 137", timeout=8)  # before the grace period of 10 s
    assert terminal.end() == 0
    assert termios.tcgetattr(terminal.slave) == terminal.before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops(composer, up, number):
    terminal = up()
    terminal.until("Detach")
    os.kill(terminal.process.pid, number)
    terminal.until("Gracefully Stopping")
    assert terminal.end() == 130
    assert termios.tcgetattr(terminal.slave) == terminal.before


@pytest.mark.parametrize(("words", "environ"), [(["--menu=false"], {}), ([], {"COMPOSE_MENU": "false"})])
def test_without(composer, up, words, environ):
    composer.environ.update(environ)
    terminal = up(*words)
    terminal.until("begun")
    os.kill(terminal.process.pid, signal.SIGINT)
    assert terminal.end() == 130
    assert "Detach" not in terminal.shown


def test_watching_needs_rules(composer, up):
    composer.write(compose=PROJECT.replace("develop:", "x-develop:"))
    terminal = up()
    terminal.until("Detach")
    terminal.type("w")
    terminal.until("menu: none of the selected services is configured for watch")
    terminal.type("d")
    assert terminal.end() == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_that_ends_it_leaves_the_terminal_as_it_was(composer, up, number):
    terminal = up("one")
    terminal.until("Detach")
    os.kill(terminal.process.pid, number)
    assert terminal.end() == -number
    assert termios.tcgetattr(terminal.slave) == terminal.before
    assert composer.ps()["one"][0]["State"] == "running"
