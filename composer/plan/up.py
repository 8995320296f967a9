"""Plan `up`, `create` and the dependencies of `run`: networks, volumes, then the services in dependency order."""

from __future__ import annotations

from collections.abc import Iterable

from composer.plan import handover, jobs, recreation, refusal, rejoining, replacement
from composer.plan.desired import Desired, DesiredService
from composer.plan.gates import Gates
from composer.plan.labels import is_oneoff, number_of, service_of
from composer.plan.naming import container_name
from composer.plan.networks_and_volumes import Shared, SharedProblem
from composer.plan.observed import NAMESPACES, Snapshot, missing_peer, owners_of
from composer.plan.operations import Create, Plan, PreStartHooks, Rejoin, Start, Stop, Unpause
from composer.plan.options import Options
from engine.spec.state import ContainerRecord, Status


def plan(desired: Desired, snapshot: Snapshot, options: Options) -> Plan:
    return _Up(desired, snapshot, options).run()


class _Up:
    """`settled` are the operations that finish interrupted replacements."""

    def __init__(self, desired: Desired, snapshot: Snapshot, options: Options) -> None:
        self.desired, self.options = desired, options
        self.plan = Plan()
        self.snapshot, self.settled = replacement.leftovers(self.plan, snapshot)
        self.shared = Shared(self.plan, desired, self.snapshot, options)
        self.starts: dict[str, list[int]] = {}
        self.gates = Gates(self.plan, timeout=options.wait_timeout or None)
        self.left: dict[str, list[ContainerRecord]] = {}
        """Service → its existing containers that are kept unchanged."""
        self.replaced: set[str] = set()
        self._pending: list[tuple[str, str, str, tuple[int, ...]]] = []
        """Name, cause, id and `after` of the current service's containers that must start."""
        self.names = desired.selected(options.services, dependencies=not options.no_deps)
        refusal.check(desired, self.names)

    def _warnings(self) -> Iterable[str]:
        if not self.options.services:
            return self.desired.warnings
        return self.desired.warnings_for((*self.names, *jobs.depended_on(self.desired, self.names)))

    def run(self) -> Plan:
        self.plan.warnings += self._warnings()
        self.shared.add(self.desired.services[name] for name in self.names)
        self._orphans()
        for name in self.names:
            if self.options.action == "run" and name in self.options.services:
                service = self.desired.services[name]  # the executor creates the container of `run`
                jobs.gates(self.plan, self.desired, service, self._gates(service))
            else:
                self._service(self.desired.services[name])
        self._others()
        rejoining.order(self.plan, self.snapshot)
        handover.order(self.plan, self.snapshot)
        self.shared.drop_renamed()
        if self.options.wait and not self.options.no_start:
            dependencies = [one for name in self.names for one in self.desired.services[name].depends_on]
            self.gates.wait_until_up(self.names, dependencies, self.left, self.starts)
        if self.options.action != "run" and not self.options.services:
            start = self.options.action == "up" and not self.options.no_start
            jobs.register(self.plan, self.desired, self.snapshot, start=start)
        return self.plan

    def _orphans(self) -> None:
        known = {*self.desired.known, *self.desired.jobs, *self.desired.disabled_jobs}
        orphans = [c for c in self.snapshot.containers if _is_orphan(c, known)]
        if not orphans or self.options.ignore_orphans:
            return
        if not self.options.remove_orphans:
            self.plan.warn_of_orphans(orphans)
            return
        for record in orphans:
            self.shared.remove(record, "it is an orphan")

    def _service(self, service: DesiredService) -> None:
        # A provider learns the requested scale; its service has no container, or the relay.
        scale = service.scale if service.provider else self.options.scale.get(service.name, service.scale)
        existing = [c for c in self.snapshot.service(service.name) if c.id not in self.shared.removed]
        causes = {record.id: self._recreate_cause(service, record) for record in existing}
        # Scale down: remove outdated containers first, then those with the highest numbers.
        ranked = sorted(existing, key=lambda record: (bool(causes[record.id]), number_of(record)))
        kept = {record.id for record in ranked[:scale]}
        for record in reversed(existing):
            if record.id not in kept:
                self.shared.remove(record, f"the service is scaled to {scale}")
        self._check_joined(service)
        self.starts[service.name], self.left[service.name] = [], []
        gates = self._gates(service)
        for record in existing:
            if record.id in kept:
                self._existing(service, record, gates, causes[record.id])
        following = max((number_of(record) for record in existing), default=0) + 1
        for number in range(following, following + scale - len(kept)):
            self._new(service, number, gates)
        self._begin(service)

    def _check_joined(self, service: DesiredService) -> None:
        """Raise SharedProblem when the service uses the namespaces or volumes of one that has no container and gets
        none."""
        for name in service.linked:
            if name not in self.names and not self.snapshot.service(name):
                shared = _shared_with(service, name)
                raise SharedProblem(f"cannot share {shared} with service {name}: container missing")

    def _new(self, service: DesiredService, number: int, gates: tuple[int, ...]) -> None:
        name = container_name(self.desired.project, service, number, self.options.separator)
        created = self.plan.add(
            Create,
            name,
            "no existing container",
            service=service,
            service_name=service.name,
            number=number,
            after=(*self.settled, *self._needs(service), *self._links(service)),
        )
        self._start(name, "it is new", after=(created.id, *gates))

    def _existing(self, service: DesiredService, record: ContainerRecord, gates: tuple[int, ...], cause: str) -> None:
        if cause and self._can_rejoin(service, record, cause):
            self._rejoin(service, record, gates, cause)
            return
        if cause:
            self._replace(service, record, gates, cause)
            return
        stopped = self.shared.stopped.get(record.id)
        status = record.state.status if stopped is None else Status.EXITED
        because, after = self._restart_cause(service, record)
        up = status in (Status.RUNNING, Status.RESTARTING)
        if up and because and self.options.starts:
            self._restart(service, record, because, after=(*gates, *after))
        elif up or not self.options.starts:
            self.left[service.name].append(record)
            self.plan.unchanged.append(record.spec.name)
        elif status is Status.PAUSED:
            resumed = self.plan.add_for(Unpause, record, "it is paused")
            self.starts[service.name].append(resumed.id)
        else:
            because = f"it is {status.value}" if stopped is None else "it was stopped for its network"
            needs = self._needs(service) if stopped is None else (stopped, *self._needs(service))
            self._start(record.spec.name, because, container_id=record.id, after=(*needs, *gates))

    def _replace(self, service: DesiredService, record: ContainerRecord, gates: tuple[int, ...], cause: str) -> None:
        self.replaced.add(service.name)
        name = container_name(self.desired.project, service, number_of(record), self.options.separator)
        created, ready = replacement.replace(
            self.plan,
            service,
            record,
            name,
            cause,
            self.options,
            after=(*self.settled, *self._needs(service), *self._links(service)),
            stopped=self.shared.stopped.get(record.id),
        )
        self._start(name, "it was recreated", after=(created.id, ready.id, *gates))

    def _can_rejoin(self, service: DesiredService, record: ContainerRecord, cause: str) -> bool:
        """Whether it is enough to change the networks of the running container."""
        if record.id in self.shared.stopped or cause != recreation.reason(service, record, self.snapshot):
            return False
        return recreation.only_networks(service, record, self.snapshot)

    def _rejoin(self, service: DesiredService, record: ContainerRecord, gates: tuple[int, ...], cause: str) -> None:
        rejoined = self.plan.add_for(
            Rejoin, record, cause, service=service, after=(*self.settled, *self._needs(service))
        )
        because, after = self._restart_cause(service, record)
        if because and self.options.starts:
            self._restart(service, record, because, after=(rejoined.id, *gates, *after))
            return
        self.left[service.name].append(record)

    def _restart(self, service: DesiredService, record: ContainerRecord, cause: str, *, after: Iterable[int]) -> None:
        stopped = self.plan.add_for(
            Stop, record, cause, service=service, after=after, timeout=self.options.timeout, returns=True
        )
        self._start(record.spec.name, cause, container_id=record.id, after=(stopped.id,))

    def _restart_cause(self, service: DesiredService, record: ContainerRecord) -> tuple[str, list[int]]:
        """Why an up-to-date container must restart ("" if it need not), and after which operations."""
        if record.state.stopping:
            return "its stop was interrupted", []
        for dependency in service.depends_on:
            if dependency.restart and dependency.service in self.replaced:
                cause = f"its dependency {dependency.service} was recreated (restart: true)"
                return cause, self.starts.get(dependency.service, [])
        owners = owners_of(record)
        for name in service.joined:
            begun = [i for i in self.starts.get(name, ()) if self._begins(i, owners)]
            if begun:
                return f"{name}, whose namespaces it shares, is restarted", begun
        return "", []

    def _begins(self, number: int, containers: set[str]) -> bool:
        """Whether the operation starts one of these existing containers."""
        operation = self.plan.operations[number]
        return isinstance(operation, Start) and operation.container_id in containers

    def _others(self) -> None:
        """Restart containers of other services and orphans that were stopped to recreate a network."""
        for record in self.snapshot.containers:
            stopped = self.shared.stopped.get(record.id)
            service = self.desired.services.get(service_of(record))
            if stopped is None or record.id in self.shared.removed or service_of(record) in self.names:
                continue
            needs = [self.shared.networks[a.network] for a in record.spec.networks if a.network in self.shared.networks]
            self.plan.add_for(Start, record, "it was stopped for its network", service=service, after=(stopped, *needs))

    def _recreate_cause(self, service: DesiredService, record: ContainerRecord) -> str:
        if record.state.status is Status.DEAD:
            return "it is dead"
        if self.options.no_recreate:
            return ""
        named = not self.options.services or service.name in self.options.services
        if self.options.force_recreate and (named or self.options.always_recreate_deps):
            return "--force-recreate"
        if self.options.always_recreate_deps and not named:
            return "--always-recreate-deps"
        if self.options.renew_anon_volumes and (named or self.options.always_recreate_deps):
            return "--renew-anon-volumes"
        linked = [name for name in service.linked if name in self.replaced]
        if linked:
            return f"it shares namespaces or volumes with {linked[0]}, which is recreated"
        if joins := missing_peer(record, self.snapshot):
            return f"it shares the {joins} of a container that is gone"
        return recreation.reason(service, record, self.snapshot)

    def _start(self, name: str, cause: str, *, after: Iterable[int], container_id: str = "") -> None:
        if not self.options.starts:
            return
        self._pending.append((name, cause, container_id, (*self.settled, *after)))

    def _begin(self, service: DesiredService) -> None:
        """Plan the starts that `_start` has collected, after the pre_start hooks if no container of the service
        runs."""
        pending, self._pending = self._pending, []
        hooks: tuple[int, ...] = ()
        if pending and self.desired.jobs and not self.options.no_deps:
            needed = [number for *_, numbers in pending for number in numbers]
            hooks = jobs.gates(self.plan, self.desired, service, needed)
        if pending and service.pre_start and not self.starts[service.name] and not self.left[service.name]:
            first, cause, *_ = pending[0]
            needed = [*(number for *_, numbers in pending for number in numbers), *hooks]
            prepared = self.plan.add(
                PreStartHooks, first, cause, service=service, service_name=service.name, after=needed
            )
            hooks = (*hooks, prepared.id)
        for name, cause, container_id, after in pending:
            started = self.plan.add(
                Start,
                name,
                cause,
                service=service,
                service_name=service.name,
                container_id=container_id,
                after=(*after, *hooks),
            )
            self.starts[service.name].append(started.id)

    def _needs(self, service: DesiredService) -> tuple[int, ...]:
        """The operations that create networks and volumes of the service's containers and hooks."""
        needed: list[int] = []
        for spec in service.containers:
            needed += [self.shared.networks[a.network] for a in spec.networks if a.network in self.shared.networks]
            needed += [
                self.shared.volumes[m.source]
                for m in spec.mounts
                if m.source in self.shared.volumes and m.type == "volume"
            ]
        return tuple(dict.fromkeys(needed))

    def _links(self, service: DesiredService) -> tuple[int, ...]:
        """The starts of containers whose namespaces this service joins. Their ids are known from creation."""
        if not (linked := service.linked):
            return ()
        return tuple(
            operation.id
            for operation in self.plan.operations
            if isinstance(operation, Create) and operation.service_name in linked
        )

    def _gates(self, service: DesiredService) -> tuple[int, ...]:
        """The operations that must succeed before the service's containers start."""
        if not self.options.starts:
            return ()
        gates = [i for name in service.linked for i in self.starts.get(name, ())]
        for dependency in service.depends_on:
            name = dependency.service
            if name in self.starts:
                gates += self.gates.of(service.name, dependency, self.left[name], self.starts[name])
        return tuple(dict.fromkeys(gates))


def _is_orphan(record: ContainerRecord, known: set[str]) -> bool:
    """Whether the container belongs to a service that is not in the project, or to a `run` that has ended."""
    if is_oneoff(record):
        return record.state.status in (Status.EXITED, Status.DEAD)
    return service_of(record) not in known


def _shared_with(service: DesiredService, name: str) -> str:
    """What the service uses of service `name`: the first shared namespace, or else volumes."""
    modes = (words for field, words in NAMESPACES.items() if getattr(service.container, field) == f"service:{name}")
    return next(modes, "volume")
