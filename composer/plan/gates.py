"""Plan the waits of depends_on: until a dependency is healthy, completed, or running."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from composer.plan.conditions import CONDITIONS, fulfilled
from composer.plan.desired import COMPLETED, Dependency
from composer.plan.operations import Plan, Wait
from engine.spec.state import ContainerRecord

WAIT = "--wait"
"""The cause of the waits at the end of a command."""


class Gates:
    """The waits of one plan. Operations that wait for the same condition share one wait."""

    def __init__(self, plan: Plan, *, timeout: float | None) -> None:
        self._plan, self._timeout = plan, timeout
        self._known: dict[tuple[str, str, bool], list[int]] = {}

    def of(
        self,
        dependent: str,
        dependency: Dependency,
        records: Iterable[ContainerRecord],
        starts: Sequence[int],
    ) -> list[int]:
        """The operations that must succeed before containers of the service `dependent` start. The other arguments are those
        of `wait`."""
        condition = CONDITIONS.get(dependency.condition)
        if condition is None:
            return list(starts)
        cause = f"{dependent} needs it {condition}"
        return self.wait(dependency.service, condition, cause, records, starts, required=dependency.required)

    def wait(
        self,
        name: str,
        condition: str,
        cause: str,
        records: Iterable[ContainerRecord],
        starts: Sequence[int],
        *,
        required: bool = True,
        shown: bool = False,
    ) -> list[int]:
        """One wait for each container of service `name`: for those started by `starts` (operations of the plan), and
        for existing ones (`records`) that do not yet fulfil the condition; for all of these if the waits are `shown`."""
        key = (name, condition, required)
        if key not in self._known:
            started = {self._plan.operations[i].name: (i,) for i in starts}
            there = {record.spec.name: () for record in records if shown or not fulfilled(record, condition)}
            self._known[key] = [
                self._plan.add(
                    Wait,
                    container,
                    cause,
                    condition=condition,
                    required=required,
                    service_name=name,
                    after=after,
                    timeout=self._timeout,
                ).id
                for container, after in {**there, **started}.items()
            ]
        return self._known[key]

    def wait_until_up(
        self,
        names: Iterable[str],
        dependencies: Iterable[Dependency],
        kept: Mapping[str, Sequence[ContainerRecord]],
        starts: Mapping[str, Sequence[int]],
    ) -> None:
        """--wait: until all containers of these services run, and are healthy if they have a healthcheck. A service that
        others (`dependencies`) wait for to complete may exit. `kept` and `starts` are the arguments of `wait` by service."""
        completing = {one.service for one in dependencies if one.condition == COMPLETED}
        for name in names:
            condition = "completed" if name in completing else "running"
            self.wait(name, condition, WAIT, kept.get(name, ()), starts.get(name, ()), shown=True)
