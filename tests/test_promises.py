"""docs/security.md and docs/reliability.md name for each promise a test that is there."""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
PAGES = ("security", "reliability")


def rows(page):
    """The rows of the table of promises: promise, tests."""
    text = (TOP / "docs" / f"{page}.md").read_text().partition("## Promises and their tests\n")[2].partition("\n## ")[0]
    found = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [(promise, re.findall(r"`([^`]+)`", tests)) for promise, tests in found[1:]]


@pytest.mark.parametrize(("promise", "tests"), [row for page in PAGES for row in rows(page)])
def test_each_promise_has_a_test(promise, tests):
    assert tests, promise
    for name in tests:
        path, _, function = name.partition("::")
        assert (TOP / path).exists(), name
        if function:
            assert f"def {function}(" in (TOP / path).read_text(), name
