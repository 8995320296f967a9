"""A container's exit, as other processes see it."""

from engine.spec.state import Status


def test_an_end_is_never_seen_without_its_exit_code(box):
    """By processes that read its files constantly, between the exit of the process and the session's report."""
    for _ in range(20):
        record = box.start("sh", "-c", "exit 7")
        while (
            state := next(one.state for one in box.engine.containers(box.group) if one.id == record.id)
        ).status.alive:
            pass
        assert (state.status, state.exit_code) == (Status.EXITED, 7)
        assert state.finished_at >= state.started_at > 0
        assert box.wait(record) == 7
