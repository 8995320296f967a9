"""Plan the commands for existing containers: down, start, stop, restart, kill, pause, unpause, rm."""

from __future__ import annotations

from collections.abc import Iterable

from composer.plan import jobs, labels, replacement
from composer.plan.desired import Dependency, Desired, DesiredService
from composer.plan.labels import is_job_run, is_oneoff, is_replica, number_of, service_of
from composer.plan.observed import Snapshot, dependencies_of
from composer.plan.operations import (
    RESTART,
    Kill,
    Pause,
    Plan,
    Remove,
    RemoveNetwork,
    RemoveVolume,
    Stop,
    Unpause,
)
from composer.plan.options import Options
from composer.plan.starts import Starts
from engine.spec.container import ContainerSpec
from engine.spec.state import ContainerRecord, Status


def plan(desired: Desired | None, snapshot: Snapshot, options: Options) -> Plan:
    return _Lifecycle(desired, snapshot, options).run()


class _Lifecycle:
    def __init__(self, desired: Desired | None, snapshot: Snapshot, options: Options) -> None:
        self.desired, self.snapshot, self.options = desired, snapshot, options
        self.plan = Plan()
        self.settled: tuple[int, ...] = ()
        """The operations that finish interrupted replacements."""

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
        if self.options.action in ("start", "restart"):
            self.snapshot, self.settled = replacement.leftovers(self.plan, self.snapshot)
        actions[self.options.action]()
        return self.plan

    def _chosen(self) -> list[ContainerRecord]:
        """The containers to act on."""
        if self.options.containers:
            return [c for c in self.snapshot.containers if c.id in self.options.containers]
        return self._of(self._names())

    def _names(self) -> set[str] | None:
        """The services to act on, None for all containers. Unless the options say otherwise these are the enabled
        services, without orphans."""
        if self.options.services:
            return set(self.options.services)
        return None if self.options.whole or self.desired is None else set(self.desired.services)

    def _of(self, names: set[str] | None, *, oneoff: bool = False) -> list[ContainerRecord]:
        """The containers of these services (None: all), by service and number."""
        found = [
            c
            for c in self.snapshot.containers
            if (names is None or service_of(c) in names) and (oneoff or is_replica(c)) and not self._of_job(c)
        ]
        return sorted(found, key=lambda c: (service_of(c), number_of(c), c.spec.name))

    def _of_job(self, record: ContainerRecord) -> bool:
        """Whether a job run owns the container."""
        return is_job_run(record) and service_of(record) in self.snapshot.jobs

    def service(self, name: str) -> DesiredService | None:
        return self.desired.services.get(name) if self.desired else None

    def _before(self, records: list[ContainerRecord]) -> dict[str, set[str]]:
        """Service → services that must be stopped before it: those that depend on it."""
        found: dict[str, set[str]] = {}
        for record in records:
            for dependency in self._depends_on(record):
                found.setdefault(dependency, set()).add(service_of(record))
        return found

    def dependencies(self, record: ContainerRecord) -> list[Dependency]:
        """The dependencies in the project, or else those recorded at creation. A container that shares namespaces is
        restarted with their owner."""
        service = self.service(service_of(record))
        if service is None:
            return dependencies_of(record)
        named = {dependency.service for dependency in service.depends_on}
        joined = [Dependency(service=name, restart=name in service.joined) for name in service.linked]
        return [*service.depends_on, *(one for one in joined if one.service not in named)]

    def _depends_on(self, record: ContainerRecord) -> list[str]:
        return [dependency.service for dependency in self.dependencies(record)]

    def _ordered(self, records: list[ContainerRecord], *, reverse: bool) -> list[ContainerRecord]:
        """The containers, dependencies first, or last with `reverse`. A cycle in old labels is ignored."""
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

    def _stops(
        self, records: list[ContainerRecord], cause: str, *, after: tuple[int, ...] = ()
    ) -> dict[str, list[int]]:
        """Plan stops after the operations `after`, dependants first. Returns service → its stops."""
        stops: dict[str, list[int]] = {}
        dependants = self._before(records)
        for record in self._ordered(records, reverse=True):
            name = service_of(record)
            needed = [i for other in sorted(dependants.get(name, ())) if other != name for i in stops.get(other, ())]
            behind = tuple(dict.fromkeys((*after, *needed)))
            if record.state.status.up:
                stops.setdefault(name, []).append(self._stop_one(record, cause, after=behind))
            else:
                self.plan.unchanged.append(record.spec.name)
                # Its dependants wait for the same operations.
                stops.setdefault(name, []).extend(behind)
        return stops

    def _down(self) -> None:
        whole = not self.options.services
        everything = self._of(set(self.options.services) or None, oneoff=True)
        if whole and self.desired and not self.options.remove_orphans:
            known = {*self.desired.known, *self.desired.jobs, *self.desired.disabled_jobs}
            orphans = [c for c in everything if service_of(c) not in known and not is_oneoff(c)]
            if orphans and not self.options.ignore_orphans:
                self.plan.warn_of_orphans(orphans)
            everything = [c for c in everything if c not in orphans]
        ended = jobs.unregister(self.plan, self.snapshot, "down", history=self.options.volumes) if whole else ()
        stops = self._stops(everything, "down", after=ended)
        removed: list[int] = [*ended]
        stopped = {op.container_id: op.id for op in self.plan.operations if isinstance(op, Stop)}
        for record in self._ordered(everything, reverse=True):
            own = (stopped[record.id],) if record.id in stopped else tuple(stops.get(service_of(record), ()))
            operation = self.plan.add_for(
                Remove, record, "down", after=(*ended, *own), volumes=self.options.volumes, force=True
            )
            removed.append(operation.id)
        self._remove_shared(everything, after=tuple(removed), whole=whole)

    def _remove_shared(self, removed: list[ContainerRecord], *, after: tuple[int, ...], whole: bool) -> None:
        """Plan the removal of networks, and with --volumes of volumes, once the containers `removed` are gone. `whole`: not
        only of some services."""
        left = [c for c in self.snapshot.containers if c not in removed]
        used = {a.network for c in left for a in c.spec.networks} if not whole else set()
        for name, network in sorted(self.snapshot.networks.items()):
            if network.spec.labels.get(labels.PROJECT) == self.snapshot.project and name not in used:
                self.plan.add(RemoveNetwork, name, "down", after=after)
        if self.options.volumes:
            going = self._volumes_of_project() if whole else self._volumes_of_chosen(removed, left)
            for name, volume in sorted(self.snapshot.volumes.items()):
                is_ours = volume.spec.labels.get(labels.PROJECT) == self.snapshot.project
                if is_ours and (going is None or name in going):
                    self.plan.add(RemoveVolume, name, "down --volumes", after=after)

    def _volumes_of_project(self) -> set[str] | None:
        """The volumes that the files declare and enabled services use, as with docker compose: what only a disabled or
        removed service has stays. None, which means all, without files."""
        return None if self.desired is None else {volume.spec.name for volume in self.desired.volumes.values()}

    def _volumes_of_chosen(self, removed: list[ContainerRecord], left: list[ContainerRecord]) -> set[str]:
        """The volumes of the named services that no other service or container uses."""
        services = self.desired.services if self.desired else {}
        named = set(self.options.services)
        mine = [c.spec for c in removed] + [services[name].container for name in named & services.keys()]
        others = [c.spec for c in left] + [one.container for name, one in services.items() if name not in named]
        return _volumes(mine) - _volumes(others)

    def _start(self) -> None:
        """Start the containers and their dependencies, in order, each once its conditions are fulfilled."""
        records = self._ordered(self._needed(self._chosen()), reverse=False)
        starts = self._starts()
        for record in records:
            if not record.state.status.can_start or record.state.status is Status.RESTARTING:
                starts.leave(record)
            else:
                gates = starts.prepared(record, starts.gates_of(record))
                starts.start(record, f"it is {record.state.status.value}", after=gates)
        if self.options.wait:
            starts.wait_for_all(records)
        if not self.options.services and not self.options.containers:
            jobs.start(self.plan, self.snapshot)

    def _starts(self) -> Starts:
        return Starts(
            self.plan, self.desired, self.snapshot, self.options, settled=self.settled, dependencies=self.dependencies
        )

    def _needed(self, records: list[ContainerRecord]) -> list[ContainerRecord]:
        """These containers, and those of the services that they depend on."""
        if self.options.containers:
            return records
        names: set[str] = set()
        while records:
            names |= {service_of(record) for record in records}
            further = {name for record in records for name in self._depends_on(record)} - names
            records = self._of(further)
        return self._of(names)

    def _stop(self) -> None:
        records = self._chosen()
        if not self.options.services and not self.options.containers:
            jobs.stop(self.plan, self.snapshot.jobs, self.snapshot)
        self._stops(records, "stop", after=tuple(operation.id for operation in self.plan.operations))

    def _restart(self) -> None:
        """Restart the containers, and dependants with `restart: true`."""
        records = self._chosen()
        causes: dict[str, str] = {}
        if not self.options.no_deps and not self.options.containers:
            records, causes = self._restarted_along(records)
        starts = self._starts()
        for record in self._ordered(records, reverse=False):
            cause = causes.get(service_of(record), "restart")
            gates = [] if self.options.no_deps else starts.gates_of(record)
            if record.state.status.up:
                gates = [self._stop_one(record, cause, after=gates, part=RESTART)]
            starts.start(record, cause, after=gates, part=RESTART)

    def _stop_one(self, record: ContainerRecord, cause: str, *, after: Iterable[int], part: str = "") -> int:
        return self.plan.add_for(
            Stop,
            record,
            cause,
            service=self.service(service_of(record)),
            after=after,
            timeout=self.options.timeout,
            suspend=self.options.suspend,
            returns=part == RESTART,
            strict=True,
            part=part,
        ).id

    def _restarted_along(self, records: list[ContainerRecord]) -> tuple[list[ContainerRecord], dict[str, str]]:
        """These containers and the running ones that depend on them with `restart: true`; and service → cause."""
        causes: dict[str, str] = {}
        names = {service_of(record) for record in records}
        found = True
        while found:
            found = False
            for record in self._of(set(self.desired.services) if self.desired else None):
                name = service_of(record)
                for dependency in self.dependencies(record):
                    if name not in names and dependency.restart and dependency.service in names:
                        causes[name] = f"its dependency {dependency.service} is restarted (restart: true)"
                        names.add(name)
                        found = True
        along = [c for c in self._of(set(causes)) if c.state.status.up]
        return [*records, *along], causes

    def _kill(self) -> None:
        """Kill the containers, including one-off containers. As with docker compose, --remove-orphans also kills orphans, and
        removes none."""
        names = self._names()
        if self.options.remove_orphans and not self.options.services:
            names = None
        records = self._chosen() if self.options.containers else self._of(names, oneoff=True)
        at_once = self.options.signal.upper().removeprefix("SIG") in ("", "KILL", "9")
        for record in records:
            if record.state.status.can_kill or (record.state.status is Status.RESTARTING and at_once):
                self.plan.add_for(Kill, record, "kill", signal=self.options.signal or "SIGKILL")

    def _pause(self) -> None:
        """Pause the containers. As with docker compose, pausing a named service twice is an error; without names,
        paused containers are skipped."""
        for record in self._chosen():
            status = record.state.status
            if status.can_pause or (self.options.services and status is Status.PAUSED):
                self.plan.add_for(Pause, record, "pause")

    def _unpause(self) -> None:
        for record in self._chosen():
            status = record.state.status
            if status is Status.PAUSED or (self.options.services and status.can_pause):
                self.plan.add_for(Unpause, record, "unpause")

    def _rm(self) -> None:
        records = self._chosen()
        stopped: dict[str, int] = {}
        if self.options.stop:
            self._stops(records, "rm --stop")
            stopped = {op.container_id: op.id for op in self.plan.operations if isinstance(op, Stop)}
        for record in records:
            if record.state.status.up and record.id not in stopped and not self.options.containers:
                continue
            self.plan.add_for(
                Remove,
                record,
                "rm",
                after=(stopped[record.id],) if record.id in stopped else (),
                volumes=self.options.volumes,
                force=bool(self.options.containers),
            )


def _volumes(specs: Iterable[ContainerSpec]) -> set[str]:
    """The names of the mounted volumes."""
    return {mount.source for spec in specs for mount in spec.mounts if mount.type == "volume" and mount.source}
