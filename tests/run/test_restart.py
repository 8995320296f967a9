"""Restart policies: whether and when."""

import pytest

from composer.run.restart import Backoff, wanted
from engine.spec.container import Restart
from engine.spec.state import ContainerState, Status


def ended(code=0, **fields):
    return ContainerState(status=Status.EXITED, started_at=1.0, exit_code=code, **fields)


@pytest.mark.parametrize(
    ("policy", "state", "again"),
    [
        (Restart(), ended(1), False),
        (Restart(policy="always"), ended(0), True),
        (Restart(policy="always"), ended(0, stopped_by_user=True), False),
        (Restart(policy="always"), ContainerState(status=Status.CREATED), False),
        (Restart(policy="unless-stopped"), ended(1), True),
        (Restart(policy="unless-stopped"), ended(1, stopped_by_user=True), False),
        (Restart(policy="on-failure"), ended(0), False),
        (Restart(policy="on-failure"), ended(1, restart_count=99), True),
        (Restart(policy="on-failure", max_retries=2), ended(1, restart_count=1), True),
        (Restart(policy="on-failure", max_retries=2), ended(1, restart_count=2), False),
        (Restart(policy="always", max_retries=2), ended(0, restart_count=1), True),
        (Restart(policy="always", max_retries=2), ended(0, restart_count=2), False),
    ],
)
def test_wanted(policy, state, again):
    assert wanted(policy, state) is again


def test_backoff_doubles_up_to_a_minute_and_begins_again_after_ten_seconds():
    backoff = Backoff()
    pauses = [backoff.pause(0.5) for _ in range(12)]
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-2:] == [60.0, 60.0]
    assert backoff.pause(10.0) == 0.1
    assert backoff.pause(9.9) == 0.2
