"""What a string becomes where a compose file wants a number or a boolean: the types after interpolation."""

from __future__ import annotations

import struct

from composer.load.patterns import ANY, compiled, of_containers

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable


class CastError(ValueError):
    """The text is not of the wanted type; the message says what it is and what is wanted."""


_YES = {"true": True, "false": False, "y": True, "yes": True, "on": True, "n": False, "no": False, "off": False}
_DIGITS = frozenset("0123456789")


def boolean(text: str) -> bool:
    """true and false, and the y, yes, on, n, no and off of YAML 1.1."""
    try:
        return _YES[text.lower()]
    except KeyError:
        raise CastError(f"invalid boolean: {text!r} (true or false)") from None


def integer(text: str) -> int:
    """A decimal number of 64 bits."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if digits and len(digits) < 20 and _DIGITS.issuperset(digits):
        value = int(text)
        if -(2**63) <= value < 2**63:
            return value
        raise CastError(f"{text!r} is out of range for an integer")
    raise CastError(f"invalid integer: {text!r}")


def number(text: str) -> float:
    """A decimal number with or without a fraction."""
    try:
        if text and text == text.strip():
            return float(text.replace("_", "x"))
    except ValueError:
        pass
    raise CastError(f"invalid number: {text!r}")


def single(value: float) -> float:
    """The number as a 32-bit float keeps it, in its shortest decimal form."""
    try:
        kept = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        raise CastError(f"{value!r} is out of range") from None
    for digits in range(1, 10):
        short = float(f"{kept:.{digits}g}")
        if struct.unpack("<f", struct.pack("<f", short))[0] == kept:
            return short
    return float(kept)


_SERVICE: dict[tuple[str, ...], Callable[[str], bool | int | float]] = {
    ("cpu_count",): integer,
    ("cpu_percent",): number,
    ("cpu_period",): integer,
    ("cpu_quota",): integer,
    ("cpu_rt_period",): integer,
    ("cpu_rt_runtime",): integer,
    ("cpu_shares",): integer,
    ("cpus",): number,
    ("depends_on", ANY, "required"): boolean,
    ("depends_on", ANY, "restart"): boolean,
    ("deploy", "placement", "max_replicas_per_node"): integer,
    ("deploy", "replicas"): integer,
    ("deploy", "restart_policy", "max_attempts"): integer,
    ("deploy", "rollback_config", "max_failure_ratio"): number,
    ("deploy", "rollback_config", "parallelism"): integer,
    ("deploy", "update_config", "max_failure_ratio"): number,
    ("deploy", "update_config", "parallelism"): integer,
    ("healthcheck", "disable"): boolean,
    ("healthcheck", "retries"): integer,
    ("init",): boolean,
    ("oom_kill_disable",): boolean,
    ("oom_score_adj",): integer,
    ("pids_limit",): integer,
    ("ports", ANY, "target"): integer,
    ("privileged",): boolean,
    ("read_only",): boolean,
    ("scale",): integer,
    ("stdin_open",): boolean,
    ("tty",): boolean,
    ("ulimits", ANY): integer,
    ("ulimits", ANY, "hard"): integer,
    ("ulimits", ANY, "soft"): integer,
    ("volumes", ANY, "read_only"): boolean,
    ("volumes", ANY, "volume", "nocopy"): boolean,
}

CASTS = compiled(
    of_containers(_SERVICE)
    | {("jobs", ANY, "triggers", "manual"): boolean, ("services", ANY, "pre_start", ANY, "per_replica"): boolean}
    | {("networks", ANY, key): boolean for key in ("attachable", "enable_ipv4", "enable_ipv6", "external", "internal")}
    | {(kind, ANY, "external"): boolean for kind in ("configs", "secrets", "volumes")}
)
"""Where strings become something else, and what."""
