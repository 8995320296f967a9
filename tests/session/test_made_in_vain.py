"""A container whose process dies while its root is created: the error is the cause, not a later consequence."""

import pytest

from engine.errors import EngineError
from engine.spec.container import Attachment
from engine.spec.network import NetworkSpec


def test_the_reason_of_a_process_that_died_while_it_was_made(box):
    network = f"{box.group}_n"
    box.do(box.session.create_network(NetworkSpec(name=network)))
    container = box.create("true", networks=(Attachment(network=network),))
    with open(f"{box.session.folder(container.id)}/work", "w"):
        pass  # overlayfs needs a directory there
    with pytest.raises(EngineError, match="/work"):
        box.do(box.session.start(container.id))
    box.do(box.session.remove(container.id))
    box.do(box.session.remove_network(network))
