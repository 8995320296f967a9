"""jobs.* (docs.docker.com/reference/compose-file/jobs)"""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from composer.model.container import Workload
from composer.model.element import Element
from composer.model.quantities import Duration


class Schedule(Element):
    """`cron`: five fields (composer.cron). `timezone`: an IANA name, "" is UTC. `concurrency`: forbid or queue.
    `missed_fires`: one or skip."""

    cron: str
    timezone: str = ""
    concurrency: str = "forbid"
    missed_fires: str = "one"


class Triggers(Element):
    """`manual` None: it may be run by hand."""

    manual: bool | None = None
    schedule: tuple[Schedule, ...] = ()


class Limits(Element):
    """`x-composer` of a job: settings that Docker Compose's jobs lack. Durations are seconds.

    timeout       a run that takes longer is stopped; 0: none
    retries       how often a run that fails is started again
    retry_delay   the pause before that; it doubles with each retry
    history       how many finished runs are remembered, with their logs
    """

    timeout: Duration = 0.0
    retries: int = 0
    retry_delay: Duration = 10.0
    history: int = 20


class Job(Workload):
    """A container that runs to completion, by hand or on a schedule. `depends_on` may name services and jobs."""

    triggers: Triggers = Triggers()
    limits: Limits = Limits()

    @model_validator(mode="before")
    @classmethod
    def _ours(cls, value: Any) -> Any:
        """Our own extension, read before extensions are dropped."""
        if isinstance(value, dict) and isinstance(value.get("x-composer"), dict):
            return {**value, "limits": value["x-composer"]}
        return value
