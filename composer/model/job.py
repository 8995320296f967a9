"""jobs.* (docs.docker.com/reference/compose-file/jobs)"""

from __future__ import annotations

from composer.model.container import Workload
from composer.model.element import Element


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


class Job(Workload):
    """A container that runs to its end, by hand or by a schedule. `depends_on` may name services and jobs."""

    triggers: Triggers = Triggers()
