import os

import pytest

from tests.scenario.leaks import Observed
from tests.security.host import Host


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="containers need root"))


@pytest.fixture
def host(roots):
    """A group of containers that ends with the test, which must leave nothing behind."""
    before = Observed.now(roots)
    found = Host(roots)
    yield found
    found.end()
    left = before.leaks(roots)
    if left:
        before.clean(roots)
    assert not left, "left behind:\n" + "\n".join(left)
