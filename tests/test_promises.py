"""docs/security.md, docs/reliability.md and docs/releases.md name an existing test for each promise."""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
PAGES = ("security", "reliability", "releases")


def rows(page):
    """The rows of the tables of promises: promise, tests."""
    tables = (TOP / "docs" / f"{page}.md").read_text().split("| promise | test |\n|---|---|\n")[1:]
    for table in tables:
        for line in table.partition("\n\n")[0].splitlines():
            promise, _, tests = line.strip("| ").rpartition(" | ")
            yield promise, re.findall(r"`([^`]+)`", tests)


@pytest.mark.parametrize(("promise", "tests"), [row for page in PAGES for row in rows(page)])
def test_each_promise_has_a_test(promise, tests):
    assert tests, promise
    for name in tests:
        path, _, function = name.partition("::")
        assert (TOP / path).exists(), name
        if function:
            assert f"def {function}(" in (TOP / path).read_text(), name
