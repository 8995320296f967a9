"""A project's containers, networks and volumes in memory, and plans carried out on them: no engine, no time."""

import msgspec

from composer.model import Project
from composer.plan import labels
from composer.plan.labels import number_of, service_of
from composer.plan.observed import Snapshot
from composer.plan.replacement import temporary_name
from composer.plan.translate import translate
from composer.run import container_spec
from engine.spec.network import NetworkRecord, VolumeRecord
from engine.spec.state import ContainerRecord, ContainerState, Health, Status


def desired_of(tree):
    """A desired state; every service is on the default network unless it sets others."""
    tree = {"name": "demo", **tree}
    services = {}
    for name, service in tree.get("services", {}).items():
        service = {"image": f"{name}:1", **(service or {})}
        if "network_mode" not in service:
            service.setdefault("networks", {"default": None})
        services[name] = service
    tree["services"] = services
    networks = {key: network or {} for key, network in tree.get("networks", {}).items()}
    if any("default" in service.get("networks", {}) for service in services.values()):
        networks.setdefault("default", {})
    tree["networks"] = {key: {"name": f"demo_{key}", **network} for key, network in networks.items()}
    volumes = {key: volume or {} for key, volume in tree.get("volumes", {}).items()}
    tree["volumes"] = {key: {"name": f"demo_{key}", **volume} for key, volume in volumes.items()}
    disabled = tree.pop("disabled", {})
    return translate(Project.parse(tree, disabled=disabled))


def image_id(reference):
    return f"sha256:{reference.encode().hex():0<64}"[:71]


class World:
    """`snapshot()` is the input of a plan; `carry_out` applies a plan."""

    def __init__(self, *, completing=()):
        self.containers, self.networks, self.volumes = [], {}, {}
        self.completing = set(completing)
        self.count = 0

    def snapshot(self, desired):
        references = desired.references() if desired else []
        return Snapshot(
            project="demo",
            containers=list(self.containers),
            networks=dict(self.networks),
            volumes=dict(self.volumes),
            images={reference: image_id(reference) for reference in references},
        )

    def carry_out(self, plan, desired, count=None):
        """Apply operations in order, at most `count`; fails if one runs before those that it depends on."""
        done = set()
        for operation in plan.operations[:count]:
            assert set(operation.after) <= done, f"{operation} comes before what it needs"
            getattr(self, f"_{operation.kind.replace(' ', '_').removesuffix('_container').removesuffix('_for')}")(
                operation, desired
            )
            done.add(operation.id)

    def named(self, name):
        found = [record for record in self.containers if record.spec.name == name]
        assert len(found) == 1, f"{len(found)} containers {name}"
        return found[0]

    def replace(self, record, **state):
        new = msgspec.structs.replace(record, state=msgspec.structs.replace(record.state, **state))
        self.containers[self.containers.index(record)] = new
        return new

    def add(self, desired, service, number, name, **state):
        """A container as the executor creates it."""

        def find(what):
            kind, _, word = what.partition(":")
            records = [r for r in self.containers if (service_of(r) if kind == "service" else r.spec.name) == word]
            assert records, f"{what} is not there"
            return min(records, key=number_of).id

        spec = container_spec.specification(
            desired, desired.services[service], number, name, self.snapshot(desired).images, find
        )
        self.count += 1
        record = ContainerRecord(
            id=f"{self.count:012x}".ljust(64, "0"),
            group="demo",
            spec=spec,
            state=ContainerState(**{"created_at": self.count, **state}),
        )
        assert all(other.spec.name != name for other in self.containers), f"{name} is there"
        for attachment in spec.networks:
            assert attachment.network in self.networks, f"{name} before its network {attachment.network}"
        for mount in spec.mounts:
            assert mount.type != "volume" or not mount.source or mount.source in self.volumes, (
                f"{name} before its volume"
            )
        self.containers.append(record)
        return record

    def _create_network(self, operation, desired):
        assert operation.name not in self.networks
        self.networks[operation.name] = NetworkRecord(id=operation.name, spec=operation.network)

    def _remove_network(self, operation, desired):
        users = [r for r in self.containers if any(a.network == operation.name for a in r.spec.networks)]
        if not any(record.state.status.alive for record in users):
            del self.networks[operation.name]

    def _create_volume(self, operation, desired):
        assert operation.name not in self.volumes
        self.volumes[operation.name] = VolumeRecord(spec=operation.volume, mountpoint="/")

    def _remove_volume(self, operation, desired):
        users = [r for r in self.containers if any(m.source == operation.name for m in r.spec.mounts)]
        if not users:
            del self.volumes[operation.name]

    def _create(self, operation, desired):
        name = operation.name
        if operation.replaces:
            name = temporary_name(operation.replaces, name)
        self.add(desired, operation.service_name, operation.number, name)

    def _of(self, operation):
        given = getattr(operation, "container_id", "")
        if given:
            (found,) = [record for record in self.containers if record.id == given]
            return found
        return self.named(operation.name)

    def _rename(self, operation, desired):
        (record,) = [
            record
            for record in self.containers
            if record.id == operation.container_id or record.spec.name.endswith(f"_{operation.name}")
        ]
        assert all(other.spec.name != operation.name for other in self.containers)
        spec = msgspec.structs.replace(record.spec, name=operation.name)
        self.containers[self.containers.index(record)] = msgspec.structs.replace(record, spec=spec)

    def _start(self, operation, desired):
        record = self._of(operation)
        assert record.state.status.can_start, f"{operation}: it is {record.state.status}"
        for mode in (record.spec.network_mode, record.spec.pid_mode, record.spec.ipc_mode):
            if mode.startswith("container:"):
                (joined,) = [other for other in self.containers if other.id == mode.removeprefix("container:")]
                assert joined.state.status.alive, f"{operation} joins {joined.spec.name}, which is not up"
        completes = service_of(record) in self.completing
        status = Status.EXITED if completes else Status.RUNNING
        health = Health(status="healthy") if record.spec.healthcheck and not completes else None
        self.replace(record, status=status, exit_code=0, health=health)

    def _stop(self, operation, desired):
        record = self._of(operation)
        assert record.state.status.alive or record.state.status is Status.RESTARTING
        self.replace(record, status=Status.EXITED, exit_code=143)

    def _reconnect(self, operation, desired):
        record = self._of(operation)
        assert record.state.status is Status.RUNNING
        networks = desired.services[operation.service_name].container.networks
        for attachment in networks:
            assert attachment.network in self.networks, f"{operation} before its network {attachment.network}"
        known = {**record.spec.labels, **container_spec.configuration(operation.service)}
        spec = msgspec.structs.replace(record.spec, networks=networks, labels=known)
        self.containers[self.containers.index(record)] = msgspec.structs.replace(record, spec=spec)

    def _kill(self, operation, desired):
        self._stop(operation, desired)

    def _pause(self, operation, desired):
        self.replace(self._of(operation), status=Status.PAUSED)

    def _unpause(self, operation, desired):
        self.replace(self._of(operation), status=Status.RUNNING)

    def _remove(self, operation, desired):
        record = self._of(operation)
        assert operation.force or record.state.status.can_remove, f"{operation}: it is {record.state.status}"
        self.containers.remove(record)

    def _wait(self, operation, desired):
        record = self.named(operation.name)
        expected = Status.EXITED if operation.condition == "completed" else Status.RUNNING
        assert record.state.status is expected or not operation.required, f"{operation}: it is {record.state.status}"


def left_over(world):
    """Everything that still has the project's label."""
    shared = (*world.networks.values(), *world.volumes.values())
    return [r.spec.name for r in (*world.containers, *shared) if r.spec.labels.get(labels.PROJECT) == "demo"]
