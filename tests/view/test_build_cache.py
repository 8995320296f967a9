from types import SimpleNamespace

import pytest

from composer.view.build_cache import to_keep

ENTRIES = [SimpleNamespace(size=10), SimpleNamespace(size=20), SimpleNamespace(size=30)]


@pytest.mark.parametrize(("limit", "reserved", "wanted_free", "free", "expected"), [
    (0, 0, 0, 5, None),
    (25, 0, 0, 5, 25),
    (0, 15, 0, 5, 15),
    (25, 40, 0, 5, 40),
    (0, 0, 25, 5, 40),
    (0, 0, 25, 30, 60),
    (30, 0, 25, 30, 30),
    (50, 0, 25, 5, 40),
    (0, 45, 25, 5, 45),
    (0, 0, 500, 5, 0),
])  # fmt: skip
def test_entries_that_a_cache_prune_keeps(limit, reserved, wanted_free, free, expected):
    """As BuildKit: at most the limit, less if the disk needs it, at least what is reserved."""
    assert to_keep(ENTRIES, limit, reserved, wanted_free, free) == expected
