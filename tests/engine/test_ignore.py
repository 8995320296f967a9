import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BuildFailed
from engine.ignore import Ignore, Stepwise, compiled, split


@pytest.mark.parametrize(
    ("patterns", "ignored", "kept"),
    [
        (["*.log"], ["a.log"], ["d/a.log", "a.logs"]),
        (["**/*.log"], ["a.log", "d/e/a.log"], ["a.txt"]),
        (["node_modules"], ["node_modules", "node_modules/x/y"], ["a/node_modules"]),
        (["**/node_modules"], ["a/node_modules/x"], ["a/node_modulesx"]),
        (["a/**"], ["a/b", "a/b/c"], ["b/a"]),
        (["a/**/z"], ["a/z", "a/b/c/z", "a/z/q"], ["a/zz", "z"]),
        (["/a"], ["a"], ["b/a"]),
        (["a/", "./b", "c/../d"], ["a/x", "b", "d"], ["c"]),
        (["*", "!a", "!b/c"], ["x", "b/d"], ["a", "b/c", "a/deep/x"]),
        (["*", "!a", "a/x"], ["a/x"], ["a/y"]),
        (["!a", "a"], ["a"], []),
        (["./src", "b[^\\-.]c"], ["src/main.py", "bxc"], ["srcs", "b-c", "b/c"]),
        (["**b", "**/c*"], ["b", "ab", "x/ab", "x/cd"], ["bx", "x/acd"]),
        (["a", "!."], ["a"], ["b"]),
        (["..", "../a", "/"], [], ["a", "b/a"]),
        (["?x", "[a-c]1", "[^a-c]2"], ["ax", "b1", "d2"], ["x", "d1", "b2", "/x"]),
        (["# a", "", "  ", "b"], ["b"], ["a", "# a"]),
        (["a\\*b"], ["a*b"], ["axb"]),
        (["**"], ["a", "b/c"], []),
        ([".git", "!.git/HEAD"], [".git/config"], [".git/HEAD"]),
    ],
)
def test_patterns(patterns, ignored, kept):
    rules = Ignore(patterns)
    assert [path for path in ignored if not rules.matches(path)] == []
    assert [path for path in kept if rules.matches(path)] == []


@pytest.mark.parametrize(
    ("patterns", "directory", "prunes"),
    [
        (["a"], "a", True),
        (["a", "!a/b"], "a", False),
        (["a", "!a/b"], "a/c", True),
        (["a", "!b"], "a", True),
        (["a", "!**/x"], "a", False),
        (["*", "!a*"], "b", True),
        (["*", "!a*"], "abc", False),
    ],
)
def test_pruning(patterns, directory, prunes):
    assert Ignore(patterns).prunes(directory) is prunes


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("!", r"\.dockerignore:2: illegal exclusion"),
        ("[a", r"\.dockerignore:2: invalid pattern"),
        ("[-a]", r"\.dockerignore:2: invalid pattern"),
        ("[]", r"\.dockerignore:2: invalid pattern"),
        ("a\\", r"\.dockerignore:2: invalid pattern"),
    ],
)
def test_errors_are_located(line, message):
    with pytest.raises(BuildFailed, match=message):
        Ignore(["ok", line])


PATHS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map("/".join)
PATTERNS = st.lists(
    st.builds(
        lambda n, p: n + p,
        st.sampled_from(["", "!"]),
        st.lists(st.sampled_from(["a", "b", "*", "**", "?"]), min_size=1, max_size=3).map("/".join),
    ),
    max_size=4,
)


@given(PATTERNS, PATHS)
def test_pruned_directories_hold_no_kept_file(patterns, path):
    rules = Ignore(patterns)
    parts = path.split("/")
    for length in range(1, len(parts)):
        if rules.prunes("/".join(parts[:length])):
            assert rules.matches(path)


@given(
    st.lists(st.sampled_from(["a", "b", "*", "**", "?", "/", "[ab]", "[^a]"]), min_size=1, max_size=9).map("".join),
    st.text("ab/", max_size=9),
)
def test_two_ways_to_match_agree(pattern, path):
    assert bool(compiled(split(pattern)).fullmatch(path)) is Stepwise(split(pattern)).fullmatch(path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 20 + "b", "a" * 200),
        ("**/a" * 20 + "/b", "a/" * 200 + "c"),
        ("a**" * 20 + "b", "a/" * 200 + "c"),
        ("**a" * 20 + "b", "a" * 200),
        ("*?" * 20 + "b", "a" * 200),
        ("**/*a" * 20 + "*b", "a/" * 200),
    ],
)
def test_no_pattern_takes_long(pattern, path):
    """A hostile context chooses both; trying everything would take years."""
    assert not Ignore([pattern]).matches(path)
