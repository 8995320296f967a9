"""`security_opt` as Docker reads it (moby daemon/daemon_unix.go, parseSecurityOpt): every value is applied or
refused."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from engine.spec.logoptions import boolean

_LABELS = ("user", "role", "type", "level", "filetype")
KNOWN = "apparmor, label, no-new-privileges, seccomp, systempaths"


class SecurityOptions(Struct, kw_only=True):
    """`seccomp` is "" or builtin for the default, unconfined, or a path or JSON text; `apparmor` is "" for the default."""

    no_new_privileges: bool = False
    seccomp: str = ""
    apparmor: str = ""
    system_paths: bool = False


def read(options: Sequence[str]) -> tuple[SecurityOptions, list[tuple[int, str]]]:
    """The parsed options, the last of a kind taking precedence; and the index and the reason for each invalid one."""
    found, problems = SecurityOptions(), []
    for index, option in enumerate(options):
        if reason := _apply(found, option):
            problems.append((index, f"{option!r}: {reason}"))
    return found, problems


def _apply(found: SecurityOptions, option: str) -> str:
    """Apply one option. Returns the reason if it is invalid, else ""."""
    if option == "no-new-privileges":
        found.no_new_privileges = True
        return ""
    # A colon is the older spelling; a value may contain either.
    separator = "=" if "=" in option else ":"
    word, given, value = option.partition(separator)
    if not given:
        return (
            f"not known; known: {KNOWN}" if word not in ("seccomp", "apparmor", "label", "systempaths") else "no value"
        )
    if word == "no-new-privileges":
        try:
            found.no_new_privileges = boolean(value)
        except ValueError as error:
            return str(error)
    elif word in ("seccomp", "apparmor"):
        if not value:
            return "no value"
        setattr(found, word, value)
    elif word == "systempaths":
        if value != "unconfined":
            return f"{value!r} is not valid: the only value is unconfined"
        found.system_paths = True
    elif word == "label":
        return _label(value)
    else:
        return f"not known; known: {KNOWN}"
    return ""


def _label(value: str) -> str:
    """SELinux labels are checked, but have no effect, as with Docker on a host without SELinux."""
    word, colon, rest = value.partition(":")
    if value == "disable" or (word in _LABELS and colon and rest):
        return ""
    return f"{value!r} is not valid: expected disable or one of {', '.join(_LABELS)} with a colon and a value"
