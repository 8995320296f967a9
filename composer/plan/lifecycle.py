"""Planning what acts on existing containers: down, start, stop, restart, kill, pause, unpause, rm."""

from __future__ import annotations

from composer.plan import labels
from composer.plan.desired import Desired
from composer.plan.observed import Snapshot, dependencies_of, is_oneoff, number_of, service_of
from composer.plan.operations import Kind, Plan
from composer.plan.options import Options
from engine.spec.state import ContainerRecord, Status


def plan(desired: Desired | None, snapshot: Snapshot, options: Options) -> Plan:
    return _Lifecycle(desired, snapshot, options).run()


class _Lifecycle:
    def __init__(self, desired: Desired | None, snapshot: Snapshot, options: Options) -> None:
        self.desired, self.snapshot, self.options = desired, snapshot, options
        self.plan = Plan()

    def run(self) -> Plan:
        actions = {
            "down": self._down,
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "kill": self._kill,
            "pause": self._pause,
            "unpause": self._unpause,
            "rm": self._rm,
        }
        actions[self.options.action]()
        return self.plan

    def _chosen(self, *, oneoff: bool = False) -> list[ContainerRecord]:
        records = self.snapshot.containers
        if self.options.containers:
            return [c for c in records if c.id in self.options.containers]
        found = [
            c
            for c in records
            if (not self.options.services or service_of(c) in self.options.services) and (oneoff or not is_oneoff(c))
        ]
        return sorted(found, key=lambda c: (service_of(c), number_of(c), c.spec.name))

    def _before(self, records: list[ContainerRecord]) -> dict[str, set[str]]:
        """Service → services that must be gone before it: those that depend on it."""
        found: dict[str, set[str]] = {}
        for record in records:
            for dependency in self._depends_on(record):
                found.setdefault(dependency, set()).add(service_of(record))
        return found

    def _depends_on(self, record: ContainerRecord) -> list[str]:
        service = self.desired.services.get(service_of(record)) if self.desired else None
        return [d.service for d in service.depends_on] if service else dependencies_of(record)

    def _ordered(self, records: list[ContainerRecord], *, reverse: bool) -> list[ContainerRecord]:
        """Dependencies first, or last when `reverse`; a cycle in old labels does not matter."""
        services = {service_of(r): self._depends_on(r) for r in records}
        order: list[str] = []

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in order or name in path:
                return
            for dependency in services.get(name, ()):
                visit(dependency, (*path, name))
            order.append(name)

        for name in sorted(services):
            visit(name, ())
        return sorted(
            records, key=lambda r: (order.index(service_of(r)) * (-1 if reverse else 1), number_of(r), r.spec.name)
        )

    def _stops(self, records: list[ContainerRecord], cause: str) -> dict[str, list[int]]:
        """Stop operations, dependants first; service → its stops."""
        stops: dict[str, list[int]] = {}
        dependants = self._before(records)
        for record in self._ordered(records, reverse=True):
            name = service_of(record)
            after = tuple(
                i for other in sorted(dependants.get(name, ())) if other != name for i in stops.get(other, ())
            )
            if record.state.status.alive or record.state.status is Status.RESTARTING:
                service = self.desired.services.get(name) if self.desired else None
                operation = self.plan.add(
                    Kind.STOP,
                    record.spec.name,
                    cause,
                    container_id=record.id,
                    service_name=name,
                    service=service,
                    after=after,
                    timeout=self.options.timeout,
                )
                stops.setdefault(name, []).append(operation.id)
            else:
                # What depends on it waits for whatever it waits for itself.
                stops.setdefault(name, []).extend(after)
        return stops

    def _down(self) -> None:
        known = set(self.desired.known) if self.desired else None
        everything = self._chosen(oneoff=True)
        whole = not self.options.services
        if whole and known is not None and not self.options.remove_orphans:
            orphans = [c for c in everything if service_of(c) not in known and not is_oneoff(c)]
            if orphans and not self.options.ignore_orphans:
                names = " ".join(sorted(c.spec.name for c in orphans))
                self.plan.warnings.append(
                    f"Found orphan containers ([{names}]) for this project. If you removed or renamed this service in "
                    "your compose file, you can run this command with the --remove-orphans flag to clean it up."
                )
            everything = [c for c in everything if c not in orphans]
        stops = self._stops(everything, "down")
        removed: list[int] = []
        stopped = {op.container_id: op.id for op in self.plan.operations}
        for record in self._ordered(everything, reverse=True):
            own = (stopped[record.id],) if record.id in stopped else tuple(stops.get(service_of(record), ()))
            operation = self.plan.add(
                Kind.REMOVE,
                record.spec.name,
                "down",
                container_id=record.id,
                service_name=service_of(record),
                after=own,
                volumes=self.options.volumes,
                force=True,
            )
            removed.append(operation.id)
        if not whole:
            return
        for name, network in sorted(self.snapshot.networks.items()):
            if network.spec.labels.get(labels.PROJECT) == self.snapshot.project:
                self.plan.add(Kind.REMOVE_NETWORK, name, "down", after=tuple(removed))
        if self.options.volumes:
            for name, volume in sorted(self.snapshot.volumes.items()):
                if volume.spec.labels.get(labels.PROJECT) == self.snapshot.project:
                    self.plan.add(Kind.REMOVE_VOLUME, name, "down --volumes", after=tuple(removed))

    def _start(self) -> None:
        starts: dict[str, list[int]] = {}
        for record in self._ordered(self._chosen(), reverse=False):
            name = service_of(record)
            service = self.desired.services.get(name) if self.desired else None
            if record.state.status.can_start and record.state.status is not Status.RESTARTING:
                after = tuple(i for dependency in self._depends_on(record) for i in starts.get(dependency, ()))
                operation = self.plan.add(
                    Kind.START,
                    record.spec.name,
                    f"it is {record.state.status.value}",
                    container_id=record.id,
                    service_name=name,
                    service=service,
                    after=after,
                )
                starts.setdefault(name, []).append(operation.id)
        if self.options.wait:
            for operation in list(self.plan.operations):
                self.plan.add(
                    Kind.WAIT, operation.name, "--wait", condition="running", after=(operation.id,),
                    service_name=operation.service_name, timeout=self.options.wait_timeout or None,
                )  # fmt: skip

    def _stop(self) -> None:
        self._stops(self._chosen(oneoff=bool(self.options.containers)), "stop")

    def _restart(self) -> None:
        done: dict[str, list[int]] = {}
        for record in self._ordered(self._chosen(), reverse=False):
            name = service_of(record)
            after = tuple(i for d in self._depends_on(record) if not self.options.no_deps for i in done.get(d, ()))
            operation = self.plan.add(
                Kind.RESTART,
                record.spec.name,
                "restart",
                container_id=record.id,
                service_name=name,
                service=self.desired.services.get(name) if self.desired else None,
                timeout=self.options.timeout,
                after=after,
            )
            done.setdefault(name, []).append(operation.id)

    def _kill(self) -> None:
        for record in self._chosen():
            if record.state.status.can_kill:
                self.plan.add(
                    Kind.KILL,
                    record.spec.name,
                    "kill",
                    container_id=record.id,
                    service_name=service_of(record),
                    signal=self.options.signal or "SIGKILL",
                )
        if self.options.remove_orphans and self.desired:
            for record in self.snapshot.containers:
                if service_of(record) not in self.desired.known and not is_oneoff(record):
                    self.plan.add(Kind.REMOVE, record.spec.name, "orphan", container_id=record.id, force=True)

    def _pause(self) -> None:
        for record in self._chosen():
            if record.state.status.can_pause:
                self.plan.add(
                    Kind.PAUSE, record.spec.name, "pause", container_id=record.id, service_name=service_of(record)
                )

    def _unpause(self) -> None:
        for record in self._chosen():
            if record.state.status is Status.PAUSED:
                self.plan.add(
                    Kind.UNPAUSE, record.spec.name, "unpause", container_id=record.id, service_name=service_of(record)
                )

    def _rm(self) -> None:
        records = self._chosen(oneoff=True)
        stopped: dict[str, int] = {}
        if self.options.stop:
            self._stops(records, "rm --stop")
            stopped = {op.container_id: op.id for op in self.plan.operations}
        for record in records:
            alive = record.state.status.alive or record.state.status is Status.RESTARTING
            if alive and record.id not in stopped and not self.options.containers:
                continue
            self.plan.add(
                Kind.REMOVE,
                record.spec.name,
                "rm",
                container_id=record.id,
                service_name=service_of(record),
                after=(stopped[record.id],) if record.id in stopped else (),
                volumes=self.options.volumes,
                force=bool(self.options.containers),
            )
