"""The starts of existing containers (`start`, `restart`): after what they depend on, and after pre_start hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from composer.plan import jobs
from composer.plan.desired import Dependency, Desired, DesiredService
from composer.plan.gates import Gates
from composer.plan.labels import service_of
from composer.plan.networks_and_volumes import SharedProblem
from composer.plan.observed import Snapshot, missing_peer
from composer.plan.operations import Plan, PreStartHooks, Start
from composer.plan.options import Options
from engine.spec.state import ContainerRecord


class Starts:
    """The containers that one plan starts, by service, and those that it does not touch; dependants wait for both."""

    def __init__(
        self,
        plan: Plan,
        desired: Desired | None,
        snapshot: Snapshot,
        options: Options,
        *,
        settled: tuple[int, ...],
        dependencies: Callable[[ContainerRecord], list[Dependency]],
    ) -> None:
        """`settled`: the operations that finish interrupted replacements."""
        self._plan, self._desired, self._snapshot, self._settled = plan, desired, snapshot, settled
        self._dependencies = dependencies
        self._gates = Gates(plan, timeout=options.wait_timeout or None)
        self._starts: dict[str, list[int]] = {}
        self._left: dict[str, list[ContainerRecord]] = {}
        self._prepared: dict[str, int] = {}

    def _service(self, name: str) -> DesiredService | None:
        return self._desired.services.get(name) if self._desired else None

    def leave(self, record: ContainerRecord) -> None:
        self._left.setdefault(service_of(record), []).append(record)

    def start(self, record: ContainerRecord, cause: str, *, after: Iterable[int], part: str = "") -> None:
        name = service_of(record)
        if shared := missing_peer(record, self._snapshot):
            raise SharedProblem(
                f"cannot start container {record.spec.name}: it shares the {shared} of a container that is gone.\n"
                f"Recreate it: composer up {name}"
            )
        operation = self._plan.add_for(
            Start,
            record,
            cause,
            service=self._service(name),
            after=(*self._settled, *after),
            part=part,
        )
        self._starts.setdefault(name, []).append(operation.id)

    def prepared(self, record: ContainerRecord, gates: list[int]) -> list[int]:
        """The gates, followed by the service's pre_start hooks. Hooks run only if no container of the service is
        running."""
        name = service_of(record)
        service, desired = self._service(name), self._desired
        if service is not None and desired is not None and desired.jobs:
            gates = [*gates, *jobs.gates(self._plan, desired, service, (*self._settled, *gates))]
        if service is None or not service.pre_start:
            return gates
        if name not in self._prepared:
            replicas = self._snapshot.service(name)
            if any(one.state.status.up for one in replicas):
                return gates
            self._prepared[name] = self._plan.add(
                PreStartHooks, record.spec.name, "it starts", service=service, service_name=name,
                after=(*self._settled, *gates),
            ).id  # fmt: skip
        return [*gates, self._prepared[name]]

    def gates_of(self, record: ContainerRecord) -> list[int]:
        """The operations that must succeed before the container starts."""
        after: list[int] = []
        for dependency in self._dependencies(record):
            other = dependency.service
            if other in self._starts or other in self._left:
                left, starts = self._left.get(other, []), self._starts.get(other, [])
                after += self._gates.of(service_of(record), dependency, left, starts)
        return after

    def wait_for_all(self, records: list[ContainerRecord]) -> None:
        """Plan --wait."""
        dependencies = [dependency for record in records for dependency in self._dependencies(record)]
        names = dict.fromkeys(service_of(record) for record in records)
        self._gates.wait_until_up(names, dependencies, self._left, self._starts)
