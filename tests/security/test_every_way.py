"""What must hold for every process of a container, however it was started; for an ordinary user's see
tests/rootless."""

import pytest

from tests.security import every_way


@pytest.mark.parametrize("userns", ["host", "private"])
def test_nothing_is_open_to_attacks(composer, userns):
    composer.write(**every_way.files(userns_mode=userns))
    found = every_way.found(composer)
    assert {way for way, lines in found.items() if lines[:7] != every_way.CONFINED} == set(), found
    assert {line: way for way, lines in found.items() for line in lines[7:]} == {}
