import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.build.lex import lex
from engine.errors import BuildFailed


def lines(text):
    return [(line.keyword, line.rest, line.start, line.end) for line in lex(text).lines]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\nRUN b\n", [("FROM", "a", 1, 1), ("RUN", "b", 2, 2)]),
        ("from a", [("FROM", "a", 1, 1)]),
        ("\n\n  # c\n  FROM\ta  \n", [("FROM", "a", 4, 4)]),
        ("RUN a \\\n  b \\\n# comment\n\n  && c\nCMD d", [("RUN", "a   b   && c", 1, 5), ("CMD", "d", 6, 6)]),
        ("RUN a \\  \n b", [("RUN", "a  b", 1, 2)]),
        ("RUN echo \\\\\nCMD x", [("RUN", "echo \\\\", 1, 1), ("CMD", "x", 2, 2)]),
        ("RUN a # not a comment", [("RUN", "a # not a comment", 1, 1)]),
        ("# escape=`\nRUN c:\\ `\n b", [("RUN", "c:\\  b", 2, 3)]),
        ("RUN a\r\nRUN b\r\n", [("RUN", "a", 1, 1), ("RUN", "b", 2, 2)]),
        ("\ufeffFROM a", [("FROM", "a", 1, 1)]),
        ("RUN a \\\n", [("RUN", "a", 1, 1)]),
        ("RUN\t'a\tb'", [("RUN", "'a\tb'", 1, 1)]),
        ("RUN a\x0bb\u2028c", [("RUN", "a\x0bb\u2028c", 1, 1)]),
        ("COPY --x=1 --y='a b' -- --c d", [("COPY", "--c d", 1, 1)]),
        ("", []),
    ],
)
def test_logical_lines(text, expected):
    assert lines(text) == expected


def test_directives():
    found = lex("# syntax = docker/dockerfile:1\n# Escape=`\n\n# escape=\\\nFROM a")
    assert (found.escape, found.directives["syntax"]) == ("`", "docker/dockerfile:1")
    # After another line it is an ordinary comment.
    assert lex("# hello\n# escape=`\nFROM a").escape == "\\"


@pytest.mark.parametrize("text", ["# escape=x\nFROM a", "# escape=`\n# escape=`\nFROM a"])
def test_wrong_directives(text):
    with pytest.raises(BuildFailed, match=r"Dockerfile:\d: .*escape"):
        lex(text)


def test_heredocs():
    text = "RUN <<EOF\na \\\n# kept\nEOF\nCOPY <<-A <<'B' /x/\n\t1\n\tA\n$2\nB\nCMD x"
    run, copy, cmd = lex(text).lines
    assert [doc.content for doc in run.heredocs] == ["a \\\n# kept\n"]
    assert [(doc.name, doc.content, doc.expand, doc.strip) for doc in copy.heredocs] == [
        ("A", "1\n", True, True),
        ("B", "$2\n", False, False),
    ]
    assert (run.start, run.end, copy.start, copy.end, cmd.start) == (1, 4, 5, 9, 10)


@pytest.mark.parametrize(
    "text",
    ["RUN echo '<<EOF'", 'RUN echo "<<EOF"', "RUN cat <<<EOF", "RUN a=$((1<<2))", "CMD <<EOF", "RUN echo \\<<EOF"],
)
def test_text_that_is_not_a_heredoc(text):
    assert lex(text).lines[0].heredocs == ()


@pytest.mark.parametrize(
    ("text", "name", "expand"),
    [
        ("RUN cat << EOF > /x\nEOF", "EOF", True),
        ("RUN cat 3<<EOF\nEOF", "EOF", True),
        ('COPY <<"a b" /x\na b', "a b", False),
        ('COPY <<a"b"c /x\nabc', "abc", False),
        ("COPY <<my-file.conf /x\nmy-file.conf", "my-file.conf", True),
        ("ONBUILD COPY <<X /x\nX", "X", True),
    ],
)
def test_names_of_heredocs(text, name, expand):
    (heredoc,) = lex(text).lines[0].heredocs
    assert (heredoc.name, heredoc.expand, heredoc.content) == (name, expand, "")


def test_flags_lose_their_quotes():
    assert lex("COPY --chown=\"1:2\" --exclude='a b' --x=c\\ d e f").lines[0].flags == (
        "--chown=1:2", "--exclude=a b", "--x=c d",
    )  # fmt: skip


def test_comments_and_gaps_are_kept_for_checks():
    first, second = lex("# lost\n#\n# near\nARG A\nRUN a \\\n\n  b").lines
    assert (first.comments, first.gap, second.comments, second.gap) == (("near",), False, (), True)


def test_an_unfinished_heredoc_is_located():
    with pytest.raises(
        BuildFailed, match=r"(?s)Dockerfile:2: unterminated here-document: the line 'EOF'.*2 \| RUN <<EOF"
    ):
        lex("FROM a\nRUN <<EOF\nfoo\n")


@given(st.text(alphabet="RUNCOPY <EOF\\\n#`'\"a=\t\r", max_size=80))
def test_any_text_is_lexed_or_refused(text):
    try:
        found = lex(text)
    except BuildFailed:
        return
    ends = [0] + [line.end for line in found.lines]
    for before, line in zip(ends, found.lines, strict=False):
        assert before < line.start <= line.end <= text.count("\n") + 1
