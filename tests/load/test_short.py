"""Ports, volumes, devices and command lines in their short forms."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.load.resolve import short
from composer.load.resolve.command_line import words as split
from composer.load.resolve.errors import ShortFormError


def port(target: int, published: str = "", host_ip: str = "", protocol: str = "tcp") -> dict[str, Any]:
    found: dict[str, Any] = {"mode": "ingress", "target": target, "protocol": protocol}
    return found | ({"published": published} if published else {}) | ({"host_ip": host_ip} if host_ip else {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [port(80)]),
        ("8080:80", [port(80, "8080")]),
        ("8080:80/UDP", [port(80, "8080", protocol="udp")]),
        ("127.0.0.1:8080:80", [port(80, "8080", "127.0.0.1")]),
        ("127.0.0.1::80", [port(80, "", "127.0.0.1")]),
        ("[::1]:8080:80", [port(80, "8080", "::1")]),
        ("8080-8082:80", [port(80, "8080-8082")]),
        ("8080-8081:80-81", [port(80, "8080"), port(81, "8081")]),
        ("99-101", [port(100), port(101), port(99)]),
        ("80-80:90", [port(90, "80")]),
    ],
)
def test_ports(text: str, expected: list[dict[str, Any]]) -> None:
    assert short.ports(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no container port"), (":", "no container port"), ("80:", "no container port"), ("x", "invalid container port"),
        ("80:70000", "out of range"), ("x:80", "invalid host port"), ("80-82:90-91", "different length"),
        ("82-80", "ends before"), ("80/http", "invalid protocol"), ("1.2.3:80:80", "invalid IP"), ("[::1:80:80", "invalid IP"),
        ("::1:8080:80", r"brackets: \[::1\]"),
        ("host:80:80", "invalid IP"), ("-1", "invalid container port"), ("8٠", "invalid container port"),
    ],
)  # fmt: skip
def test_invalid_ports(text: str, message: str) -> None:
    with pytest.raises(ShortFormError, match=message):
        short.ports(text)


BIND: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a", {"type": "volume", "target": "/a"}),
        ("/data", {"type": "volume", "target": "/data", "volume": {}}),
        ("vol:/a", {"type": "volume", "source": "vol", "target": "/a", "volume": {}}),
        ("vol:/a:nocopy,ro", {"type": "volume", "source": "vol", "target": "/a", "read_only": True, "volume": {"nocopy": True}}),
        ("./s:/a", {"type": "bind", "source": "./s", "target": "/a", "bind": BIND}),
        ("~/s:/a:ro", {"type": "bind", "source": "~/s", "target": "/a", "read_only": True, "bind": BIND}),
        ("/s:/a:Z,rslave", {"type": "bind", "source": "/s", "target": "/a",
                            "bind": {"selinux": "Z", "propagation": "rslave", **BIND}}),
        ("C:\\s:/a", {"type": "bind", "source": "C:\\s", "target": "/a", "bind": BIND}),
        ("c:/s:d:/a:ro", {"type": "bind", "source": "c:/s", "target": "d:/a", "read_only": True, "bind": BIND}),
        ("\\\\.\\pipe\\p:/p", {"type": "bind", "source": "\\\\.\\pipe\\p", "target": "/p", "bind": BIND}),
        ("${V:-./x}:/a", {"type": "volume", "source": "${V:-./x}", "target": "/a", "volume": {}}),
        ("vol:/a:whatever", {"type": "volume", "source": "vol", "target": "/a", "volume": {}}),
    ],
)  # fmt: skip
def test_volumes(text: str, expected: dict[str, Any]) -> None:
    assert short.volume(text) == expected


@pytest.mark.parametrize("text", ["", ":/a", "ab::/b", "ab:/b:", "ab:cd:ef:gh", "::::"])
def test_invalid_volumes(text: str) -> None:
    with pytest.raises(ShortFormError):
        short.volume(text)


def test_devices() -> None:
    assert short.device("/a") == {"source": "/a", "target": "/a", "permissions": "rwm"}
    assert short.device("/a:/b:r") == {"source": "/a", "target": "/b", "permissions": "r"}
    with pytest.raises(ShortFormError, match="long syntax"):
        short.device("a:b:c:d")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", []), ("  ", []), ("a b", ["a", "b"]), ("a 'b c' \"d e\"", ["a", "b c", "d e"]), ("a\\ b c", ["a b", "c"]),
        ("a ''", ["a", ""]), ("a'b'c", ["abc"]), ("a '\\x'", ["a", "\\x"]), ('a "\\""', ["a", '"']), ("a && b", ["a"]),
        ("a; b", ["a"]), ("a 2>&1", ["a"]), ("a > b", ["a"]), ("a '&&' b", ["a", "&&", "b"]), ("a `b c` d", ["a", "`b c`", "d"]),
        ("a $(b c) d", ["a", "$(b c)", "d"]), ("a\nb\tc", ["a", "b", "c"]), ("a\\tb", ["a\tb"]), ("$HOME", ["$HOME"]),
    ],
)  # fmt: skip
def test_command_lines(line: str, expected: list[str]) -> None:
    assert split(line) == expected


@pytest.mark.parametrize("line", ["a 'b", 'a "b', "a\\", "a (b)", "a `b", "a $(b"])
def test_invalid_command_lines(line: str) -> None:
    with pytest.raises(ShortFormError):
        split(line)


@given(st.lists(st.text(alphabet="ab &;|<>()'`$\n", max_size=6), max_size=5))
def test_quoted_words_come_back(words: list[str]) -> None:
    line = " ".join('"' + word + '"' for word in words)
    assert split(line) == words


@given(st.text(max_size=30))
def test_any_text_is_a_form_or_refused(text: str) -> None:
    for form in (short.ports, short.volume, short.device, split):
        try:
            form(text)
        except ShortFormError as error:
            assert str(error)
