"""Finds a project's processes, and kills them when it observes an event."""

import contextlib
import os
import select
import signal
import socket
import time

from engine import control
from engine.watch.tree import TreeWatch


def _processes(composer, word):
    """Pids of the project's processes, and of builds, whose command line has `word` in it."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                command = file.read().decode(errors="replace")
            if word not in command or os.readlink(f"/proc/{entry}/ns/mnt") != os.readlink("/proc/self/ns/mnt"):
                continue
            with open(f"/proc/{entry}/environ", "rb") as file:
                where = command + file.read().decode(errors="replace")
            if composer.roots.run in where and (composer.name in where or "/build-" in command):
                found.append(int(entry))
    return found


def find(composer, victim):
    return _processes(composer, {"supervisor": "supervise", "keeper": "keeper/main.py"}[victim])


def forks(command):
    """Pids of the command's children: the fork that loads the supervisor's modules, or what it starts."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for thread in os.listdir(f"/proc/{command.pid}/task"):
            with open(f"/proc/{command.pid}/task/{thread}/children") as file:
                found += [int(word) for word in file.read().split()]
    return found


def kill(composer, victim, command=None):
    """kill -9 of the command, its forks, the supervisor or the keeper; True if it existed."""
    if victim == "command":
        command.kill()
        command.wait()
        return True
    pids = forks(command) if victim == "forks" else find(composer, victim)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            select.select([descriptor], [], [], 10)
            os.close(descriptor)
    return bool(pids)


def serving(composer, seconds=20):
    """Wait until a supervisor has adopted the running containers: it then hangs up on a silent client."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with control.connect(composer.roots.supervisor_socket(composer.name)) as sock:
                sock.settimeout(seconds)
                sock.shutdown(socket.SHUT_WR)
                sock.recv(1)
            return
        except (ConnectionError, FileNotFoundError) as error:  # or is being replaced
            assert time.monotonic() < deadline, error
            time.sleep(0.01)  # there is no event for a socket without a listener


class Moment:
    """Waits until a file with a certain name is created or written below the project's folders."""

    def __init__(self, composer, name):
        self.name = name
        folders = [f"{root}/{composer.name}" for root in (composer.roots.groups, composer.roots.run)]
        for folder in folders:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        self.watch = TreeWatch(folders, skip=lambda path: os.path.basename(path) in ("upper", "work"))

    def wait(self, command, seconds=20):
        """False if the command exits without it."""
        deadline = time.monotonic() + seconds
        descriptor = os.pidfd_open(command.pid)
        try:
            while time.monotonic() < deadline:
                ready, _, _ = select.select([self.watch, descriptor], [], [], 1)
                if any(os.path.basename(path) == self.name for path in self.watch.read()):
                    return True
                if descriptor in ready:
                    return False
        finally:
            os.close(descriptor)
        raise AssertionError(f"{self.name} was not seen within {seconds} s")

    def close(self):
        self.watch.close()
