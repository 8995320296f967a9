from __future__ import annotations

import io

from composer.cli.render.lines import Lines


def test_names_are_padded_and_coloured_in_turn() -> None:
    out, err = io.StringIO(), io.StringIO()
    lines = Lines(out, err, colour=True)
    lines.register(["web-1", "db-1"])
    lines.line("db-1", "db up\n")
    lines.line("web-1", "oh", stream="stderr")
    lines.status("web-1", "exited with code 1")
    assert out.getvalue() == "\x1b[33mdb-1   | \x1b[0mdb up\n\x1b[36mweb-1 exited with code 1\n\x1b[0m"
    assert err.getvalue() == "\x1b[36mweb-1  | \x1b[0moh\n"


def test_plain_timestamps_and_no_prefix() -> None:
    out = io.StringIO()
    lines = Lines(out, out, timestamps=True)
    lines.line("web-1", "a\n", timestamp="T")
    assert out.getvalue() == "web-1  | T a\n"
    bare = io.StringIO()
    Lines(bare, bare, prefix=False).line("web-1", "a\n", timestamp="T")
    assert bare.getvalue() == "a\n"
