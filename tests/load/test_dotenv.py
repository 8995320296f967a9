"""The grammar of .env files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.load.errors import LoadError
from composer.load.read import dotenv


def parsed(text: str, **environ: str) -> dict[str, str]:
    found: dict[str, str] = {}
    dotenv.parse(text, ".env", found, environ)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=b", {"A": "b"}),
        ("A = b c  ", {"A": "b c"}),
        ("A=b # comment", {"A": "b"}),
        ("A=b#no comment", {"A": "b#no comment"}),
        ("A=", {"A": ""}),
        ("A=\nB=c", {"A": "", "B": "c"}),
        ("# only\n\n  # this\nA=b", {"A": "b"}),
        ("A: b\nC: d=e", {"A": "b", "C": "d=e"}),
        ("export A=b\nexport\tB='c'", {"A": "b", "B": "c"}),
        ("exportA=b\nexport_B=c", {"exportA": "b", "export_B": "c"}),
        ("A='x y' # c\nB=\"x # y\"#c", {"A": "x y", "B": "x # y"}),
        ("A='it\\'s'", {"A": "it's"}),
        ('A="say \\"hi\\""', {"A": 'say "hi"'}),
        ("A='a\\nb'", {"A": "a\\nb"}),
        ('A="a\\nb\\tc\\\\d\\e"', {"A": "a\nb\tc\\d\\e"}),
        ('A="\\0101\\0x"', {"A": "A\\x"}),
        ("A='first\nsecond'\nB=c", {"A": "first\nsecond", "B": "c"}),
        ("A=b\nC=${A}d\nE=\"$A e\"\nF='$A'", {"A": "b", "C": "bd", "E": "b e", "F": "$A"}),
        ('A="\\$B"\nC=$$B', {"A": "$B", "C": "$B"}),
        ("A=${UNSET:-def}", {"A": "def"}),
        ("A.B-C[0]=d", {"A.B-C[0]": "d"}),
        ("A=b\r\nC=d\r\n", {"A": "b", "C": "d"}),
        ("GRÖSSE=1", {"GRÖSSE": "1"}),
        ("A=1\nA=2", {"A": "2"}),
        ('="value"', {"": "value"}),
        ("A='x'B=y", {"A": "x", "B": "y"}),
    ],
)
def test_parsed(text: str, expected: dict[str, str]) -> None:
    assert parsed(text) == expected


def test_the_environment_comes_before_the_file_in_values() -> None:
    assert parsed("A=file\nB=$A", A="environment") == {"A": "file", "B": "environment"}


def test_name_without_value_uses_the_environment() -> None:
    assert parsed("A\nB\nC=d", A="a") == {"A": "a", "C": "d"}
    assert parsed("A", A="a") == {"A": "a"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\nB C=2", '.env:2:1: key cannot contain a space: "B C"'),
        ("lol$wut", '.env:1:4: unexpected character "$" in variable name "lol$wut"'),
        ('\nA="open', '.env:2:3: unterminated quoted value "open'),
        ("A='open\\'", ".env:1:3: unterminated quoted value 'open\\'"),
        ("A=${B:?gone}", ".env:1:3: required variable B is missing a value: gone"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(LoadError) as error:
        parsed(text)
    assert str(error.value).split("\n")[0] == message


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "x.env"
    file.write_bytes(b"\xef\xbb\xbfA=b\nC=$A\n")
    found = {"A": "earlier"}
    places = dotenv.read(str(file), found, {})
    assert found == {"A": "b", "C": "b"}
    assert str(places["C"]) == f"{file}:2:1"
    file.write_bytes(b"A=1\nB=\xff")
    with pytest.raises(LoadError, match=r"x.env:2:1: byte 0xff is not UTF-8"):
        dotenv.read(str(file), {}, {})


def test_raw_files_are_literal(tmp_path: Path) -> None:
    file = tmp_path / "raw.env"
    file.write_text("# c\nA='$B' # x\n  C= d \nHOME\nNOWHERE\n")
    found: dict[str, str] = {}
    dotenv.read_raw(str(file), found, {"HOME": "/h"})
    assert found == {"A": "'$B' # x", "C": " d ", "HOME": "/h"}
    file.write_text("A B=c\n")
    with pytest.raises(LoadError, match="contains whitespace"):
        dotenv.read_raw(str(file), {}, {})


@pytest.mark.parametrize(
    "text",
    [
        "A0=xx\n" + "".join(f"A{n}=${{A{n - 1}}}${{A{n - 1}}}\n" for n in range(1, 60)),
        "A=" + "x" * 100_000 + "\n" + "".join(f"B{n}=$A\n" for n in range(100_000)),
        "A=" + "x" * 100_000 + "\nB=" + "$A" * 100_000,
    ],
    ids=["doubled", "repeated", "in one value"],
)
def test_values_do_not_fill_memory(text: str) -> None:
    with pytest.raises(
        LoadError, match=r"\.env:\d+:\d+: with (its )?variables replaced, the (file|text) has more than"
    ):
        parsed(text)


def test_a_long_value_is_shown_shortened() -> None:
    with pytest.raises(LoadError) as raised:
        parsed("A=" + "${A:-" * 20_000)
    assert len(str(raised.value)) < 400


@given(st.text(alphabet="AB=:'\"\\$ {}#\n\t-x", max_size=80))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        parsed(text, A="a")
    except LoadError as error:
        assert str(error).startswith(".env:")


@given(
    st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]*", fullmatch=True), st.text(alphabet=st.characters(codec="utf-8")))
)
def test_quoted_values_come_back(values: dict[str, str]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'

    assert parsed("".join(f"{name}={quoted(value)}\n" for name, value in values.items())) == values
