"""Log drivers and their options, as rules in tables (docs.docker.com, "Configure logging drivers")."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from engine import quantities
from engine.spec import logtag

Check = Callable[[str], object]

DEFAULT_MAX_FILES = 5

_FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "security", "console", "solaris-cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip


def size(text: str) -> int:
    """ "10m" → bytes; 0 for no limit ("-1")."""
    if text == "-1":
        return 0
    try:
        return quantities.size(text)
    except quantities.QuantityError:
        raise ValueError(f"invalid size: '{text}': expected one like 10m") from None


def buffer(text: str) -> int:
    """The size of a buffer in memory, which must be limited."""
    if size(text) < 1:
        raise ValueError(f"invalid size: '{text}': expected one like 4m")
    return size(text)


def boolean(text: str) -> bool:
    """As Go's strconv.ParseBool."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text!r} is not a number")
    return int(text)


def files(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("max-file cannot be less than 1")
    return int(text)


def seconds(text: str) -> float:
    try:
        found = quantities.nanoseconds(text, quantities.GO)
    except quantities.QuantityError:
        found = -1
    if found < 0:
        raise ValueError(f"{text!r} is not a duration like 500ms")
    return found / 1e9


def pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from error


def tag(text: str) -> str:
    logtag.expand(text, logtag.NOBODY)
    return text


def mode(text: str) -> str:
    if text not in ("blocking", "non-blocking"):
        raise ValueError(f"logging mode not supported: {text}")
    return text


def facility(text: str) -> int:
    """A name or number of syslog(3); its number."""
    if text in _FACILITIES:
        return _FACILITIES.index(text)
    if text.isdecimal() and int(text) < 24:
        return int(text)
    raise ValueError(f"invalid syslog facility {text!r}")


def syslog_format(text: str) -> str:
    if text not in ("", "rfc3164", "rfc5424", "rfc5424micro"):
        raise ValueError(f"invalid syslog format {text!r}")
    return text


def _address(schemes: Mapping[str, int]) -> Check:
    """scheme → default port; a scheme without a port (-1) names a socket file."""

    def check(text: str) -> dict[str, Any]:
        from urllib.parse import urlsplit

        url = urlsplit(text if "://" in text else f"tcp://{text}")
        if url.scheme not in schemes:
            raise ValueError(f"unsupported scheme: '{url.scheme}' of {text!r}: expected {', '.join(schemes)}")
        if schemes[url.scheme] < 0:
            if not url.path:
                raise ValueError(f"{text!r} has no path")
            return {"scheme": url.scheme, "path": url.path}
        try:
            port = url.port
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from error
        if url.path not in ("", "/"):
            raise ValueError(f"{text!r}: a path does not belong to {url.scheme}")
        return {"scheme": url.scheme, "host": url.hostname or "127.0.0.1", "port": port or schemes[url.scheme]}

    return check


_ATTRIBUTES: dict[str, Check] = {"labels": str, "labels-regex": pattern, "env": str, "env-regex": pattern, "tag": tag}
# mode and max-buffer-size are read and change nothing: no container waits for a target in either mode
# (docs/compatibility.md, Logs).
_EVERY: dict[str, Check] = {
    "mode": mode, "max-buffer-size": buffer, "cache-disabled": boolean, "cache-max-size": size, "cache-max-file": files,
    "cache-compress": boolean,
}  # fmt: skip
_FILES: dict[str, Check] = {"max-size": size, "max-file": files, "compress": boolean}

OPTIONS: dict[str, dict[str, Check]] = {
    "json-file": _FILES | _ATTRIBUTES,
    "local": _FILES,
    "none": {},
    "syslog": _ATTRIBUTES
    | {
        "syslog-address": _address({"udp": 514, "tcp": 514, "tcp+tls": 6514, "unix": -1, "unixgram": -1}),
        "syslog-facility": facility, "syslog-format": syslog_format, "syslog-tls-ca-cert": str, "syslog-tls-cert": str,
        "syslog-tls-key": str, "syslog-tls-skip-verify": boolean,
    },
    "journald": _ATTRIBUTES,
    "fluentd": _ATTRIBUTES
    | {
        "fluentd-address": _address({"tcp": 24224, "tls": 24224, "unix": -1}), "fluentd-async": boolean,
        "fluentd-async-reconnect-interval": seconds, "fluentd-buffer-limit": size, "fluentd-retry-wait": seconds,
        "fluentd-max-retries": count, "fluentd-sub-second-precision": boolean, "fluentd-request-ack": boolean,
        "fluentd-write-timeout": seconds, "fluentd-read-timeout": seconds,
    },
}  # fmt: skip
"""Driver → option → parser of its value, which raises ValueError."""

_UNSUPPORTED = ("awslogs", "splunk", "gcplogs", "gelf", "etwlogs", "logentries")


class Problem(Struct, frozen=True):
    """An error in an option, or in the driver if `option` is "", with a hint."""

    option: str
    text: str
    hint: str = ""


def read(driver: str, options: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """The values of the options, and all errors."""
    driver = driver or "json-file"
    if driver not in OPTIONS:
        known = "is not supported" if driver in _UNSUPPORTED else "is not known"
        return {}, [Problem("", f"log driver {driver!r} {known}", f"Supported: {', '.join(OPTIONS)}.")]
    if driver == "none":
        hint = "The driver none takes no options."
        return {}, [Problem(option, "invalid logging opts for driver none", hint) for option in options]
    known_options = _EVERY | OPTIONS[driver]
    values: dict[str, Any] = {}
    problems = []
    for option, text in options.items():
        if option not in known_options:
            hint = f"Known: {', '.join(sorted(known_options))}."
            problems.append(Problem(option, f"unknown log opt '{option}' for {driver} log driver", hint))
            continue
        try:
            values[option] = known_options[option](text)
        except ValueError as error:
            problems.append(Problem(option, f"log driver {driver}: {option}: {error}"))
    if "max-buffer-size" in options and options.get("mode") != "non-blocking":
        text = f"log driver {driver}: max-buffer-size is only supported with mode=non-blocking"
        problems.append(Problem("max-buffer-size", text))
    if values.get("compress") and values.get("max-file", DEFAULT_MAX_FILES) < 2:
        text = f"log driver {driver}: compress cannot be true when max-file is less than 2"
        problems.append(Problem("compress", text))
    return values, problems


def is_readable(driver: str, options: Mapping[str, str]) -> bool:
    """Whether the lines are kept on this machine. Raises ValueError for an invalid value."""
    return driver != "none" and not boolean(options.get("cache-disabled", "false"))
