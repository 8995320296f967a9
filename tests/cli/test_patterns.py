from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.cli.patterns import Patterns
from composer.cli.watch import Rule


@pytest.mark.parametrize(
    ("patterns", "path", "meant"),
    [
        (["node_modules/"], "node_modules/a/b.js", True),
        (["*.py"], "a.py", True),
        (["*.py"], "sub/a.py", False),
        (["**/*.py"], "sub/deep/a.py", True),
        (["**/*.py"], "a.py", True),
        (["a?c", "[x-z]1"], "abc", True),
        (["[x-z]1"], "y1", True),
        (["[^x]1"], "x1", False),
        (["a[^-.]b"], "a-b", False),
        (["a[^-.]b"], "a/b", False),
        (["a[^-.]b"], "acb", True),
        (["*", "!keep.txt"], "keep.txt", False),
        (["./src"], "src/main.py", True),
        (["src"], "srcs", False),
        ([], "a", False),
    ],
)
def test_patterns(patterns: list[str], path: str, meant: bool) -> None:
    assert Patterns(patterns).match(path) is meant


@given(st.text(alphabet="ab*?[]!^-/\\.", max_size=12), st.text(alphabet="ab/.", max_size=8))
def test_any_pattern_is_understood_or_harmless(pattern: str, path: str) -> None:
    try:
        Patterns([pattern]).match(path)
    except Exception as error:
        raise AssertionError(pattern) from error


def test_which_changes_concern_a_rule_and_where_they_go() -> None:
    rule = Rule("web", "/p/src/", "sync", target="/app", ignore=["*.log"])
    assert rule.concerns("/p/src/a.py") and not rule.concerns("/p/src/a.log") and not rule.concerns("/p/other")
    assert rule.destination("/p/src/sub/a.py") == "/app/sub/a.py"
    built = Rule("web", "/p/src", "sync", target="/app", context="/p", excluded=["src/private", "**/out"])
    for inside in ("private/a", "deep/out/a", ".git/HEAD", "deep/.a.py.swp", "a.py~", ".#a.py", ".idea/x.xml"):
        assert not built.concerns(f"/p/src/{inside}"), inside
    for inside in ("privates", "out.py", ".gitignore", "~a", "swp"):
        assert built.concerns(f"/p/src/{inside}"), inside
    single = Rule("web", "/p/one.txt", "sync", target="/app/1.txt", include=["*.py"])
    assert single.concerns("/p/one.txt") and single.destination("/p/one.txt") == "/app/1.txt"
