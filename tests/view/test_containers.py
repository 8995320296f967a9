"""The ports of a container as listings show them."""

from composer.view.containers import publishers
from engine.spec.container import ContainerSpec
from engine.spec.state import ContainerRecord, ContainerState, Status


def test_exposed_texts_that_are_no_ports_are_not_shown():
    """The API accepts any text as an exposed port."""
    exposed = ("²/tcp", "any", f"{'9' * 5000}/tcp", "80-81/udp", "1-99999999")
    spec = ContainerSpec(name="one", image="x", expose=exposed)
    record = ContainerRecord(id="0" * 64, group="g", spec=spec, state=ContainerState(status=Status.RUNNING))
    assert [(row.target, row.protocol) for row in publishers(record, None)] == [(80, "udp"), (81, "udp")]
