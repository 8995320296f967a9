"""Support for firewalld, which rejects forwarded packets between links without a zone. We add our bridges to a zone of
ours that accepts everything; our own table decides what is permitted. We use firewall-cmd(1), which takes half a
second, and only if firewalld's table exists. If that does not reach firewalld (it runs in a container or another root),
rules in its chains do the same until its next reload, of which we are notified.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable

from engine.errors import OperationFailed

TABLE = "firewalld"
CHAINS = "filter_FORWARD", "filter_INPUT"
"""firewalld's chains that end with a reject."""
ZONE = "composer"
_POLICY = "composer-out"
_FOLDERS = "/usr/bin", "/usr/sbin", "/bin", "/usr/local/bin"


def admit(bridges: Iterable[str]) -> bool:
    """Add the bridges to our zone. Returns whether firewalld could be reached. Raises OperationFailed."""
    program = _program()
    if not program or _run(program, "--state").returncode:
        return False
    if not _is_made(program):
        for words in (
            (f"--new-zone={ZONE}",),
            (f"--zone={ZONE}", "--set-target=ACCEPT"),
            (f"--new-policy={_POLICY}",),
            (f"--policy={_POLICY}", "--add-ingress-zone=ANY"),  # one such option per call
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
    """Remove bridges from our zone."""
    if program := _program():
        for bridge in bridges:
            _run(program, f"--zone={ZONE}", f"--remove-interface={bridge}")


def _program() -> str:
    """The path of firewall-cmd, if it exists."""
    return next((f"{one}/firewall-cmd" for one in _FOLDERS if os.access(f"{one}/firewall-cmd", os.X_OK)), "")


def _is_made(program: str) -> bool:
    """Whether zone and policy are active and complete; a killed process may have left parts."""
    policy = _run(program, f"--info-policy={_POLICY}").stdout
    return all(text in policy for text in ("target: ACCEPT", "ingress-zones: ANY", f"egress-zones: {ZONE}"))


def _run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *words], capture_output=True, text=True, errors="replace")


def _must(program: str, *words: str) -> None:
    done = _run(program, *words)
    known = "ALREADY_" in done.stderr or "NAME_CONFLICT" in done.stderr
    if done.returncode and not known:
        raise OperationFailed("run", "firewall-cmd", detail=done.stderr.strip())
