"""Restart policies, with Docker's rules (docs.docker.com/engine/containers/start-containers-automatically)."""

from __future__ import annotations

from engine.spec.container import Restart
from engine.spec.state import ContainerState

FIRST, LONGEST = 0.1, 60.0
"""Seconds before the first restart, doubled each time up to the longest."""
SETTLED = 10.0
"""After a run of this many seconds, the delay starts at FIRST again."""


def wanted(policy: Restart, state: ContainerState) -> bool:
    """Whether the policy restarts a container that exited in this state."""
    if state.stopped_by_user or not state.started_at:
        return False
    if policy.max_retries and state.restart_count >= policy.max_retries:
        return False
    return policy.policy in ("always", "unless-stopped") or (policy.policy == "on-failure" and state.exit_code != 0)


class Backoff:
    """How long to wait before each restart of one container."""

    def __init__(self) -> None:
        self._next = FIRST

    def pause(self, ran: float) -> float:
        """Seconds to wait before the next restart, after the container ran for `ran` seconds."""
        if ran >= SETTLED:
            self._next = FIRST
        pause, self._next = self._next, min(self._next * 2, LONGEST)
        return pause
