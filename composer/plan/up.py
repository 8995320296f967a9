"""Planning `up`, `create` and what `run` needs: networks, volumes, then the services in order of their dependencies."""

from __future__ import annotations

from composer.plan import divergence, refusal
from composer.plan.desired import COMPLETED, Desired, DesiredService
from composer.plan.gates import Gates
from composer.plan.observed import Snapshot, is_oneoff, number_of, service_of
from composer.plan.operations import Kind, Operation, Plan
from composer.plan.options import Options
from composer.plan.shared import Shared
from engine.spec.state import ContainerRecord, Status


def plan(desired: Desired, snapshot: Snapshot, options: Options) -> Plan:
    return _Up(desired, snapshot, options).run()


def selected(desired: Desired, options: Options) -> list[str]:
    """The services to act on, in order: the named ones with all they depend on."""
    if not options.services:
        return list(desired.order)
    chosen: set[str] = set()
    waiting = list(options.services)
    while waiting:
        name = waiting.pop()
        service = desired.services.get(name)
        if name in chosen or service is None:
            continue
        chosen.add(name)
        if not options.no_deps:
            waiting += [d.service for d in service.depends_on]
            waiting += service.linked
    return [name for name in desired.order if name in chosen]


class _Up:
    def __init__(self, desired: Desired, snapshot: Snapshot, options: Options) -> None:
        self.desired, self.snapshot, self.options = desired, snapshot, options
        self.plan = Plan()
        self.shared = Shared(self.plan, desired, snapshot, options)
        self.starts: dict[str, list[int]] = {}
        self.gates = Gates(self.plan, timeout=options.wait_timeout or None)
        self.left: dict[str, list[ContainerRecord]] = {}
        """Service → its containers that are there and stay as they are."""
        self.replaced: set[str] = set()
        self.names = selected(desired, options)
        refusal.check(desired, self.names)

    def run(self) -> Plan:
        self.plan.warnings += self.desired.warnings
        self.shared.add(self.desired.services[name] for name in self.names)
        self._orphans()
        for name in self.names:
            if self.options.action == "run" and name in self.options.services:
                self._gates(self.desired.services[name])  # its own container is made by the executor
            else:
                self._service(self.desired.services[name])
        self._others()
        if self.options.wait and not self.options.no_start:
            self._ready()
        return self.plan

    def _ready(self) -> None:
        """--wait: until all run, healthy where that is checked; what others wait to complete need not stay."""
        services = [self.desired.services[name] for name in self.names]
        completing = {d.service for one in services for d in one.depends_on if d.condition == COMPLETED}
        for service in services:
            checked = "healthy" if self._checked(service) else "running"
            condition = "completed" if service.name in completing else checked
            self._wait(service, condition)

    def _wait(self, service: DesiredService, condition: str) -> None:
        name = service.name
        self.gates.wait(name, condition, "--wait", service, self.left.get(name, ()), self.starts.get(name, ()))

    def _orphans(self) -> None:
        known = set(self.desired.known)
        orphans = [c for c in self.snapshot.containers if not is_oneoff(c) and service_of(c) not in known]
        if not orphans or self.options.ignore_orphans:
            return
        if not self.options.remove_orphans:
            names = " ".join(sorted(c.spec.name for c in orphans))
            self.plan.warnings.append(
                f"Found orphan containers ([{names}]) for this project. If you removed or renamed this service in your "
                "compose file, you can run this command with the --remove-orphans flag to clean it up."
            )
            return
        for record in orphans:
            self.shared.remove(record, "its service is not in the project")

    def _service(self, service: DesiredService) -> None:
        scale = self.options.scale.get(service.name, service.scale)
        existing = [c for c in self.snapshot.service(service.name) if c.id not in self.shared.removed]
        causes = {record.id: self._recreate_cause(service, record) for record in existing}
        # Where there are too many, those that would be made anew go first, then those with the highest numbers.
        ranked = sorted(existing, key=lambda record: (bool(causes[record.id]), number_of(record)))
        kept = {record.id for record in ranked[:scale]}
        for record in reversed(existing):
            if record.id not in kept:
                self.shared.remove(record, f"the service is scaled to {scale}")
        self.starts[service.name], self.left[service.name] = [], []
        gates = self._gates(service)
        for record in existing:
            if record.id in kept:
                self._existing(service, record, gates, causes[record.id])
        following = max((number_of(record) for record in existing), default=0) + 1
        for number in range(following, following + scale - len(kept)):
            self._new(service, number, gates)

    def _new(self, service: DesiredService, number: int, gates: tuple[int, ...]) -> None:
        name = container_name(self.desired.project, service, number)
        created = self.plan.add(
            Kind.CREATE,
            name,
            "no existing container",
            service=service,
            service_name=service.name,
            number=number,
            after=tuple(dict.fromkeys((*self._needs(service), *self._links(service)))),
        )
        self._start(service, created, name, gates, "it is new")

    def _existing(self, service: DesiredService, record: ContainerRecord, gates: tuple[int, ...], cause: str) -> None:
        if cause:
            self.replaced.add(service.name)
            operation = self.plan.add(
                Kind.RECREATE,
                container_name(self.desired.project, service, number_of(record)),
                cause,
                service=service,
                service_name=service.name,
                number=number_of(record),
                container_id=record.id,
                after=(*self._needs(service), *self._links(service)),
                timeout=self.options.timeout,
                renew_volumes=self.options.renew_anon_volumes,
            )
            self._start(service, operation, operation.name, gates, "it was recreated")
            return
        stopped = self.shared.stopped.get(record.id)
        status = record.state.status if stopped is None else Status.EXITED
        idle = self.options.no_start or self.options.action == "create"
        because, after = self._restart_cause(service)
        if status in (Status.RUNNING, Status.RESTARTING) and because and not idle:
            restarted = self.plan.add(
                Kind.RESTART,
                record.spec.name,
                because,
                container_id=record.id,
                service=service,
                service_name=service.name,
                after=tuple(dict.fromkeys((*gates, *after))),
                timeout=self.options.timeout,
            )
            self.starts[service.name].append(restarted.id)
        elif status in (Status.RUNNING, Status.RESTARTING) or idle:
            self.left[service.name].append(record)
            self.plan.unchanged.append(record.spec.name)
        elif status is Status.PAUSED:
            resumed = self.plan.add(
                Kind.UNPAUSE, record.spec.name, "it is paused", container_id=record.id, service_name=service.name
            )
            self.starts[service.name].append(resumed.id)
        else:
            started = self.plan.add(
                Kind.START,
                record.spec.name,
                f"it is {status.value}" if stopped is None else "it was stopped for its network",
                container_id=record.id,
                service=service,
                service_name=service.name,
                after=tuple(dict.fromkeys((*(() if stopped is None else (stopped,)), *self._needs(service), *gates))),
            )
            self.starts[service.name].append(started.id)

    def _restart_cause(self, service: DesiredService) -> tuple[str, list[int]]:
        """Why a container that is up to date must be restarted ("" when it need not), and after which operations."""
        for dependency in service.depends_on:
            if dependency.restart and dependency.service in self.replaced:
                cause = f"its dependency {dependency.service} was recreated (restart: true)"
                return cause, self.starts.get(dependency.service, [])
        for name in service.joined:
            begun = [i for i in self.starts.get(name, ()) if self.plan.operations[i].kind is not Kind.UNPAUSE]
            if begun:
                return f"{name}, whose namespaces it shares, is started anew", begun
        return "", []

    def _others(self) -> None:
        """Containers of services that are not acted on and orphans, stopped for a network that they share, go on."""
        for record in self.snapshot.containers:
            stopped = self.shared.stopped.get(record.id)
            service = self.desired.services.get(service_of(record))
            if stopped is None or record.id in self.shared.removed or service_of(record) in self.names:
                continue
            needs = [self.shared.networks[a.network] for a in record.spec.networks if a.network in self.shared.networks]
            self.plan.add(
                Kind.START,
                record.spec.name,
                "it was stopped for its network",
                container_id=record.id,
                service=service,
                service_name=service_of(record),
                after=(stopped, *needs),
            )

    def _recreate_cause(self, service: DesiredService, record: ContainerRecord) -> str:
        if record.state.status in (Status.DEAD, Status.REMOVING):
            return f"it is {record.state.status.value}"
        if self.options.no_recreate:
            return ""
        named = not self.options.services or service.name in self.options.services
        if self.options.force_recreate and (named or self.options.always_recreate_deps):
            return "--force-recreate"
        if self.options.always_recreate_deps and not named:
            return "--always-recreate-deps"
        linked = [name for name in service.linked if name in self.replaced]
        if linked:
            return f"it shares namespaces or volumes with {linked[0]}, which is recreated"
        return divergence.reason(service, record, self.snapshot)

    def _start(self, service: DesiredService, made: Operation, name: str, gates: tuple[int, ...], cause: str) -> None:
        if self.options.no_start or self.options.action == "create":
            return
        started = self.plan.add(
            Kind.START,
            name,
            cause,
            service=service,
            service_name=service.name,
            number=made.number,
            after=tuple(dict.fromkeys((made.id, *gates))),
        )
        self.starts[service.name].append(started.id)

    def _needs(self, service: DesiredService) -> tuple[int, ...]:
        """The creations of networks and volumes that the service's containers need."""
        needed = [
            self.shared.networks[a.network] for a in service.container.networks if a.network in self.shared.networks
        ]
        needed += [
            self.shared.volumes[m.source]
            for m in service.container.mounts
            if m.source in self.shared.volumes and m.type == "volume"
        ]
        return tuple(dict.fromkeys(needed))

    def _links(self, service: DesiredService) -> tuple[int, ...]:
        """Containers whose namespaces are joined must run before ours is started; their ids are known from creation."""
        if not (linked := service.linked):
            return ()
        return tuple(
            operation.id
            for operation in self.plan.operations
            if operation.service_name in linked and operation.kind in (Kind.CREATE, Kind.RECREATE)
        )

    def _gates(self, service: DesiredService) -> tuple[int, ...]:
        """What must have happened before the service's containers may start."""
        if self.options.no_start or self.options.action == "create":
            return ()
        gates = [i for name in service.linked for i in self.starts.get(name, ())]
        for dependency in service.depends_on:
            name = dependency.service
            if name in self.starts:
                gates += self.gates.of(
                    service.name, dependency, self.desired.services[name], self.left[name], self.starts[name]
                )
        return tuple(dict.fromkeys(gates))

    @staticmethod
    def _checked(service: DesiredService) -> bool:
        check = service.container.healthcheck
        return check is not None and bool(check.test) and check.test != ("NONE",)


def container_name(project: str, service: DesiredService, number: int) -> str:
    return service.container_name or f"{project}-{service.name}-{number}"
