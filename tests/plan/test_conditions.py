"""One definition of "ready" for every command."""

import pytest

from composer.plan.conditions import Never, fulfilled, outcome
from engine.spec.container import ContainerSpec
from engine.spec.state import ContainerRecord, ContainerState, Health, Status


def record(status, health="", exit_code=0):
    state = ContainerState(status=status, exit_code=exit_code, health=Health(status=health) if health else None)
    return ContainerRecord(id="1", group="p", spec=ContainerSpec(name="p-a-1", image="i"), state=state)


@pytest.mark.parametrize(
    ("condition", "given", "expected"),
    [
        ("running", record(Status.RUNNING), True),
        ("running", record(Status.RUNNING, "starting"), None),
        ("running", record(Status.RUNNING, "healthy"), True),
        ("running", record(Status.RESTARTING), None),
        ("running", record(Status.CREATED), None),
        ("healthy", record(Status.RUNNING, "starting"), None),
        ("healthy", record(Status.RUNNING, "healthy"), True),
        ("healthy", record(Status.PAUSED, "healthy"), None),
        ("completed", record(Status.RUNNING), None),
        ("completed", record(Status.EXITED), True),
    ],
)
def test_outcome(condition, given, expected):
    assert outcome(given, condition) is expected
    assert fulfilled(given, condition) is (expected is True)


@pytest.mark.parametrize(
    ("condition", "given", "words"),
    [
        ("running", record(Status.EXITED, exit_code=3), r"container p-a-1 exited \(3\)"),
        ("running", record(Status.RUNNING, "unhealthy"), "is unhealthy"),
        ("healthy", record(Status.RUNNING), "has no healthcheck configured"),
        ("healthy", record(Status.DEAD), "exited"),
        ("completed", record(Status.EXITED, exit_code=4), "didn't complete successfully: exit 4"),
    ],
)
def test_never(condition, given, words):
    with pytest.raises(Never, match=words):
        outcome(given, condition)
    assert not fulfilled(given, condition)
