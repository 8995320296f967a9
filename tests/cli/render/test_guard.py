"""Untrusted text cannot control the terminal, wherever it is printed."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.cli.render.ansi import uncoloured
from composer.cli.render.guard import Guarded, raw
from composer.cli.render.progress import JsonProgress, PlainProgress, State
from composer.cli.render.row_template import format_rows
from composer.cli.render.table import table
from composer.cli.render.terminal import TtyProgress
from composer.load.printable import escaped, one_line

HOSTILE = "\x1b]0;TITLE\x07\x1b[2J\r\b\x7f\x9b31m\u202e\u2066\ufeff\x00"


def harmless(text):
    return all(
        c in "\n\t" or (ord(c) >= 0x20 and not 0x7F <= ord(c) < 0xA0 and c not in "\u202e\u2066\ufeff") for c in text
    )


@given(st.text())
def test_no_text_reaches_the_terminal_unescaped(text):
    assert harmless(escaped(text))
    assert harmless(one_line(text)) and not set("\n\t") & set(one_line(text))
    assert escaped(escaped(text)) == escaped(text)
    json.loads(escaped(json.dumps(text, ensure_ascii=False)))


@pytest.mark.parametrize("text", ["plain", "tab\tline\n", "日本語\u3000語", "é\u00a0ü", "👩\u200d💻", "مرحبا"])
def test_ordinary_text_is_unchanged(text):
    assert escaped(text) == text


def test_escapes():
    assert escaped("a\x1b[0m\x9b\u202e\udc9b\U000e0041") == "a\\x1b[0m\\u009b\\u202e\\udc9b\\udb40\\udc41"


def test_a_guarded_stream_is_the_stream_otherwise():
    stream = io.StringIO()
    guarded = Guarded(stream)
    print("one", HOSTILE, file=guarded, flush=True)
    guarded.writelines(["two\n", HOSTILE])
    assert harmless(stream.getvalue()) and stream.getvalue().startswith("one ")
    assert raw(guarded) is stream is raw(stream)
    assert guarded.isatty() is False


def test_line_feeds_in_a_cell_are_escaped():
    text = table([("NAME", "CMD"), ("a\tb", f"x\nroot 1 0 fake {HOSTILE}")])
    assert harmless(text) and text.count("\n") == 2
    text = format_rows("table {{.Name}}\t{{.Cmd}}", [{"Name": "a\tb", "Cmd": "x\ny"}], ("Name", "Cmd"), {})
    assert text.count("\n") == 2 and text.splitlines()[1].split() == ["a\\tb", "x\\ny"]


def test_progress_of_every_kind():
    for make in (PlainProgress, JsonProgress, lambda stream: TtyProgress(stream, colour=False)):
        stream = io.StringIO()
        with make(Guarded(stream)) as progress:
            progress.update(f"Container {HOSTILE}", HOSTILE, detail=HOSTILE)
            progress.transfer(f"Container {HOSTILE}", HOSTILE, 1, 2)
            progress.note(f"\x1b[1;31mred\x1b[0m {HOSTILE}")
            progress.update(f"Container {HOSTILE}", HOSTILE, State.ERROR, detail=HOSTILE)
        shown = stream.getvalue()
        for ours in ("\x1b[?25l", "\x1b[?25h", *(f"\x1b[{n}A\r\x1b[J" for n in range(1, 6))):
            shown = shown.replace(ours, "")
        assert harmless(shown), ascii(shown)


def test_colours_of_a_build_are_removed():
    assert uncoloured("\x1b[32mok\x1b[0m \x1b[38;2;1;2;3mrgb\x1b[m") == "ok rgb"
    assert uncoloured("\x1b[2Jx") == "\\x1b[2Jx"
