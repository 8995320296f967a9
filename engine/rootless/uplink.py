"""The connection of the namespace's network to the outside: slirp4netns(1) or pasta(1), whichever is installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess

from engine.errors import Unsupported
from engine.poll import readable
from engine.rootless.ids import PATH
from engine.rootless.namespace import Namespace

_MTU = 65520
_START = 60.0
"""Seconds until either must be ready; a program that is still starting then hangs."""

_SLIRP_RESOLVER = "10.0.2.3"
_PASTA_RESOLVER = "169.254.1.1"


class Slirp:
    """slirp4netns with the interface tap0, 10.0.2.100; the host's loopback interface cannot be reached through it."""

    resolver = _SLIRP_RESOLVER

    def __init__(self, program: str, space: Namespace, run_root: str) -> None:
        ready, done = os.pipe()
        life, self._life = os.pipe()  # it exits when our end closes, however this process exits
        os.set_inheritable(self._life, False)
        options = ["--configure", f"--mtu={_MTU}", "--disable-host-loopback", f"--ready-fd={done}", f"--exit-fd={life}"]
        path = f"--userns-path=/proc/{space.pid}/ns/user"
        command = [program, *options, path, "--netns-type=path", f"/proc/{space.pid}/ns/net", "tap0"]
        try:
            self._process = subprocess.Popen(
                command, pass_fds=(done, life), stdin=subprocess.DEVNULL, start_new_session=True
            )
        finally:
            os.close(done)
            os.close(life)
        try:
            if not readable(ready, timeout=_START):
                self._process.kill()
            if not os.read(ready, 1):
                os.close(self._life)
                raise Unsupported(f"{program} ended with {self._process.wait()}")
        finally:
            os.close(ready)

    def close(self) -> None:
        os.close(self._life)
        self._process.wait()


class Pasta:
    """pasta with the host's own addresses inside; no ports are forwarded automatically, and the host's loopback
    interface cannot be reached."""

    resolver = _PASTA_RESOLVER

    def __init__(self, program: str, space: Namespace, run_root: str) -> None:
        none = [word for option in "tuTU" for word in (f"-{option}", "none")]
        options = ["--config-net", "--quiet", "--no-map-gw", "--dns-forward", _PASTA_RESOLVER, *none]
        paths = ["--userns", f"/proc/{space.pid}/ns/user", "--netns", f"/proc/{space.pid}/ns/net"]
        number = f"{run_root}/pasta.pid"
        # It moves into the background once it is ready.
        done = subprocess.run([program, *options, "--pid", number, *paths], stdin=subprocess.DEVNULL, timeout=_START)
        if done.returncode:
            raise Unsupported(f"{program} ended with {done.returncode}")
        with open(number, encoding="ascii") as file:
            self._pid = int(file.read())

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGTERM)


def start(space: Namespace, run_root: str) -> tuple[Slirp | Pasta | None, str]:
    """Start one, and write its resolv.conf to <run_root>/resolv.conf. Returns None and the reason if neither can
    run."""
    why = []
    for kind, name in ((Slirp, "slirp4netns"), (Pasta, "pasta")):
        program = shutil.which(name, path=PATH)
        if program:
            try:
                running = kind(program, space, run_root)
            except (Unsupported, OSError, subprocess.TimeoutExpired) as error:
                why.append(f"{error} (see {run_root}/rootless.log)")
                continue
            _write(f"{run_root}/resolv.conf", f"nameserver {running.resolver}\n{_other_lines()}")
            return running, ""
    _write(f"{run_root}/resolv.conf", "# no network outside\n")
    return None, "; ".join(why) or "neither slirp4netns nor pasta is installed"


def _other_lines() -> str:
    """search and options of the host's resolv.conf(5)."""
    try:
        with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
            return "".join(line for line in file if line.split()[:1] in (["search"], ["domain"], ["options"]))
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    """In place: an earlier instance's file may already be mounted over /etc/resolv.conf."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
