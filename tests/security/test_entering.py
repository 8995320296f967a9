"""What processes of a container see of a process that enters it; for an ordinary user's see tests/rootless."""

import pytest

from tests.security import entering


@pytest.mark.parametrize("userns", ["host", "private"])
def test_nothing_is_seen_of_an_entering_process(composer, userns):
    composer.write(**entering.files(userns_mode=userns))
    assert entering.found(composer) == []


def test_a_tracer_sees_the_channel_and_nothing_else_of_the_host(composer):
    """With SYS_PTRACE /proc shows everything of an entering process; its own socket to composer cannot be opened."""
    allowed = ["exe", "root", "cwd", "environ", "socket"]
    composer.write(**entering.files(allowed=allowed, cap_add=["SYS_PTRACE"]))
    assert entering.found(composer) == []
