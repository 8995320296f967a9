"""firewalld, where it runs: it rejects what is forwarded between links that are in none of its zones. Our bridges get into a
zone of ours that accepts; what they may is decided by our own table.

Spoken to by its own program, firewall-cmd(1), and only where its table is there: that costs half a second. Where that does
not reach it (it runs in a container, or another root), rules in its chains do the same until its next reload, which we hear of.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable

from engine.errors import OperationFailed

TABLE = "firewalld"
CHAINS = "filter_FORWARD", "filter_INPUT"
"""Those that end in a rejection."""
ZONE = "composer"
_POLICY = "composer-out"
_FOLDERS = "/usr/bin", "/usr/sbin", "/bin", "/usr/local/bin"


def admit(bridges: Iterable[str]) -> bool:
    """Have the bridges in our zone; whether firewalld could be asked for it. Raises OperationFailed."""
    program = _program()
    if not program or _run(program, "--state").returncode:
        return False
    if not _is_made(program):
        for words in (
            (f"--new-zone={ZONE}",),
            (f"--zone={ZONE}", "--set-target=ACCEPT"),
            (f"--new-policy={_POLICY}",),
            (f"--policy={_POLICY}", "--add-ingress-zone=ANY"),  # one option of this kind a call
            (f"--policy={_POLICY}", f"--add-egress-zone={ZONE}"),
            (f"--policy={_POLICY}", "--set-target=ACCEPT"),
        ):
            _must(program, "--permanent", *words)
        _must(program, "--reload")
    present = _run(program, f"--zone={ZONE}", "--list-interfaces").stdout.split()
    for bridge in sorted(set(bridges) - set(present)):
        _must(program, f"--zone={ZONE}", f"--change-interface={bridge}")
    return True


def dismiss(bridges: Iterable[str]) -> None:
    """Take bridges that go out of our zone."""
    if program := _program():
        for bridge in bridges:
            _run(program, f"--zone={ZONE}", f"--remove-interface={bridge}")


def _program() -> str:
    """firewall-cmd, where it is there."""
    return next((f"{one}/firewall-cmd" for one in _FOLDERS if os.access(f"{one}/firewall-cmd", os.X_OK)), "")


def _is_made(program: str) -> bool:
    """Whether zone and policy are in force and complete: a killed process may have left parts."""
    policy = _run(program, f"--info-policy={_POLICY}").stdout
    return all(text in policy for text in ("target: ACCEPT", "ingress-zones: ANY", f"egress-zones: {ZONE}"))


def _run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *words], capture_output=True, text=True, errors="replace")


def _must(program: str, *words: str) -> None:
    done = _run(program, *words)
    known = "ALREADY_" in done.stderr or "NAME_CONFLICT" in done.stderr
    if done.returncode and not known:
        raise OperationFailed("run", "firewall-cmd", detail=done.stderr.strip())
