"""AppArmor (apparmor(7)): the profile that a container's programs run under.

Where the kernel has AppArmor, that is `composer-default` unless the specification names another, or `unconfined`. It
forbids what Docker's docker-default forbids: mounts, kernel settings and memory in /proc and /sys, and tracing or
signalling programs outside. It is loaded when the first container of a session starts, once per boot.
"""

from __future__ import annotations

import functools
import os

from engine.errors import OperationFailed
from engine.kernel import idmap
from engine.kernel.boot import boot_id
from engine.paths import Roots
from engine.spec import securityopts
from engine.spec.container import ContainerSpec

DEFAULT = "composer-default"
_ENABLED = "/sys/module/apparmor/parameters/enabled"
_LOADED = "/sys/kernel/security/apparmor/profiles"
_PARSER = ("/usr/sbin/apparmor_parser", "/sbin/apparmor_parser")
_ABI = "/etc/apparmor.d/abi/3.0"

_PROFILE = f"""profile {DEFAULT} flags=(attach_disconnected,mediate_deleted) {{
  # Capabilities, sockets and files are left to the other defences, but for what follows.
  capability,
  network,
  file,
  umount,
  deny mount,

  # From outside, as stop and kill send them; to others of this profile alone.
  signal (receive),
  signal (send) peer={DEFAULT},
  ptrace (trace, read, tracedby, readby) peer={DEFAULT},

  # Below /proc, what belongs to processes may be written, and the sizes of System V's objects, which are a namespace's own.
  deny /proc/* w,
  deny /proc/[^1-9s]*/** wkl,
  deny /proc/s[^y]*/** wkl,
  deny /proc/sy[^s]*/** wkl,
  deny /proc/sys?*/** wkl,
  deny /proc/sys/[^k]*/** wkl,
  deny /proc/sys/k[^e]*/** wkl,
  deny /proc/sys/kernel/[^s]* wkl,
  deny /proc/sys/kernel/s[^he]* wkl,
  deny /proc/sys/kernel/*/** wkl,
  deny /proc/kcore rwklx,
  deny /proc/kmem rwklx,
  deny /proc/mem rwklx,
  deny /proc/sysrq-trigger rwklx,

  # Below /sys, cgroups that the container may write to.
  deny /sys/[^f]*/** wkl,
  deny /sys/f[^s]*/** wkl,
  deny /sys/fs/[^c]*/** wkl,
  deny /sys/fs/c[^g]*/** wkl,
  deny /sys/fs/cg[^r]*/** wkl,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}}
"""


def enabled() -> bool:
    """Whether AppArmor is enabled in the kernel."""
    try:
        with open(_ENABLED, encoding="ascii") as file:
            return file.read(1) == "Y"
    except OSError:
        return False


def chosen_profile(spec: ContainerSpec) -> str:
    """The specification's choice: a profile's name, `unconfined`, or "" for none."""
    return securityopts.read(spec.security_opt)[0].apparmor


def profile(spec: ContainerSpec, default: str) -> str:
    """The profile of the container's programs, "" for none. `default`: see `load`."""
    chosen = chosen_profile(spec) or default
    return "" if spec.privileged or chosen == "unconfined" else chosen


class Default:
    """The default profile, loaded on first use. If it cannot be loaded, a warning is issued once."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._warnings: list[str] = []

    @functools.cached_property
    def name(self) -> str:
        """The profile's name, "" if containers run without one."""
        try:
            return load(self._roots)
        except OperationFailed as error:
            text = str(error).replace("\n", ". ")
            self._warnings.append(f"containers run without an AppArmor profile: {text}")
            return ""

    def warnings(self) -> list[str]:
        """The warnings since the last call."""
        _ = self.name
        warnings, self._warnings = self._warnings, []
        return warnings


def load(roots: Roots) -> str:
    """Load the default profile. Returns its name, or "" without AppArmor and for an ordinary user, who cannot load
    profiles (apparmor_parser(8)). Raises OperationFailed."""
    if not enabled() or not idmap.initial():
        return ""
    import hashlib

    text = profile_text()
    mark = f"{roots.cache}/apparmor"
    digest = f"{hashlib.sha256(text.encode()).hexdigest()} {boot_id()}"
    if not (_read(mark) == digest and f"{DEFAULT} (enforce)\n" in _read(_LOADED)):
        _parse(text)
        os.makedirs(roots.cache, mode=0o700, exist_ok=True)
        with open(mark, "w", encoding="ascii") as file:
            file.write(digest)
    return DEFAULT


def profile_text() -> str:
    """Use the feature set that the rules are written for, if the machine has it; otherwise a newer parser would add
    restrictions for features that the rules do not mention."""
    return f"abi <{os.path.relpath(_ABI, '/etc/apparmor.d')}>,\n{_PROFILE}" if os.path.exists(_ABI) else _PROFILE


def _parse(text: str) -> None:
    parser = next((path for path in _PARSER if os.access(path, os.X_OK)), "")
    if not parser:
        hint = "Install it: apt install apparmor"
        raise OperationFailed(
            "load the AppArmor profile", DEFAULT, detail="apparmor_parser is not installed", hint=hint
        )
    import subprocess

    done = subprocess.run(
        [parser, "--replace", "--skip-cache", "--quiet"], input=text, capture_output=True, text=True, check=False
    )
    if done.returncode:
        detail = " ".join(done.stderr.split()) or f"apparmor_parser exited with status {done.returncode}"
        raise OperationFailed("load the AppArmor profile", DEFAULT, detail=detail)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
