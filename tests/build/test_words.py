import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.build.words import (
    Lookups,
    WordError,
    expand,
    expand_heredoc,
    expand_words,
    heredoc_name,
    shell_words,
    split,
)

VALUES = {"x": "foo.tar.gz", "e": "", "path": "/usr/local/bin", "star": "a*b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$x", "foo.tar.gz"),
        ("${x}y", "foo.tar.gzy"),
        ("$xy", ""),
        ("$u", ""),
        ("\\$x", "$x"),
        ("'$x'", "$x"),
        ('"$x"', "foo.tar.gz"),
        ('"a\\"b"', 'a"b'),
        ('"a\\nb"', "a\\nb"),
        ("a\\nb", "anb"),
        ("${e:-d}", "d"),
        ("${e-d}", ""),
        ("${u-d}", "d"),
        ("${u:-$x}", "foo.tar.gz"),
        ("${u:-${e:-z}}", "z"),
        ("${u:-'a b'}", "a b"),
        ("${x:+y}", "y"),
        ("${e:+y}", ""),
        ("${e+y}", "y"),
        ("${x#*.}", "tar.gz"),
        ("${x##*.}", "gz"),
        ("${x%.*}", "foo.tar"),
        ("${x%%.*}", "foo"),
        ("${x#z}", "foo.tar.gz"),
        ("${path##*/}", "bin"),
        ("${path%/*}", "/usr/local"),
        ("${x/o/0}", "f0o.tar.gz"),
        ("${x//o/0}", "f00.tar.gz"),
        ("${x/.*/}", "foo"),
        ("${star%\\*b}", "a"),
        ("${path//\\//:}", ":usr:local:bin"),
        ("a$", "a$"),
        ("$ x", "$ x"),
        ("$$", ""),
        ("~", "~"),
    ],
)
def test_expansion(text, expected):
    assert expand(text, VALUES) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${x", "unsupported modifier"),
        ("${x:-", "missing '}'"),
        ("${", "missing '}'"),
        ("${{x}}", "bad substitution"),
        ("${x/a}", "missing '/'"),
        ("${x#\\a}", "invalid escape"),
        ("${x:z}", "unsupported modifier"),
        ("${x^}", "unsupported modifier"),
        ("'x", "closing single quote"),
        ('"x', "closing double quote"),
        ("${u:?not here}", "u: not here"),
        ("${e:?}", "e: is not allowed to be empty"),
        ("${u?}", "u: is not allowed to be unset"),
    ],
)
def test_malformed(text, message):
    with pytest.raises(WordError, match=message):
        expand(text, VALUES)


def test_words():
    assert split("a 'b c' \"d e\" f\\ g  h") == ["a", "'b c'", '"d e"', "f\\ g", "h"]
    assert split("a\t'b") == ["a", "'b"]
    assert split("end\\") == ["end"]
    assert expand_words("80 $e $x/tcp", VALUES) == ["80", "foo.tar.gz/tcp"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a$two", ["ab", "c"]),
        ('a"$two"', ["ab  c"]),
        ("$two$two", ["b", "cb", "c"]),
        ("'$two' \\ x", ["$two", " x"]),
        (" $blank ", []),
        ("a\\ b c", ["a b", "c"]),
    ],
)
def test_a_value_s_blanks_separate_words(text, expected):
    assert expand_words(text, {"two": "b  c", "blank": "  "}) == expected


def test_a_shell_command_s_words():
    assert shell_words("cat << 'E F' >$x", raw=True) == ["cat", "<< 'E F'", ">$x"]
    assert shell_words("echo \\<<EOF ${x:-y z}", raw=True) == ["echo", "\\<<EOF", "${x:-y", "z}"]
    assert [heredoc_name(text) for text in ("EOF", "'E O'", 'E"O"F', "\\EOF", "a b")] == [
        ("EOF", False), ("E O", True), ("EOF", True), ("EOF", False), ("", False),
    ]  # fmt: skip


def test_heredocs_keep_quotes():
    assert expand_heredoc("'$x' \"${e:-1}\" \\$x \\n", VALUES) == "'foo.tar.gz' \"1\" $x n"


def test_backtick_as_escape_character():
    assert expand("c:\\a`$x", VALUES, "`") == "c:\\a$x"


def test_names_looked_up_are_reported():
    lookups = Lookups()
    expand("$a ${b:-$c} '$d' $e", {"e": ""}, lookups=lookups)
    assert (lookups.found, lookups.missing) == ({"e"}, {"a", "b", "c"})


@given(st.text(alphabet="${}x:-+?#%/\\'\"e*", max_size=16))
def test_any_text_is_expanded_or_refused(text):
    try:
        expand(text, VALUES)
    except WordError:
        pass


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["#", "##", "%", "%%"]),
    st.text(alphabet="ab*?.", min_size=1, max_size=5),
    st.text(alphabet="ab.", max_size=8),
)
def test_trimming_is_a_shell_s(operator, pattern, value):
    script = f'x="$1"; printf %s "${{x{operator}{pattern}}}"'
    shell = subprocess.run(["dash", "-c", script, "sh", value], capture_output=True, text=True, check=True).stdout
    assert expand(f"${{x{operator}{pattern}}}", {"x": value}) == shell
