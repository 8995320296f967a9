"""The observed state: a snapshot of the project's containers, networks and volumes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from msgspec import Struct

from composer.plan import labels
from composer.plan.desired import STARTED, Dependency, Desired
from composer.plan.labels import is_replica, number_of, service_of
from engine.spec.image import ImageRecord
from engine.spec.network import NetworkRecord, VolumeRecord
from engine.spec.state import ContainerRecord, Endpoint

NAMESPACES = {
    "network_mode": "network namespace",
    "pid_mode": "PID namespace",
    "ipc_mode": "IPC namespace",
    "uts_mode": "UTS namespace",
    "cgroup_mode": "cgroup namespace",
}
"""The fields of a specification that can name another container, and what the two share."""

Changed = tuple[Mapping[str, str], Mapping[str, str], Collection[str]]
HostChanges = Callable[[Collection[str], Collection[Endpoint]], Changed]
"""See Snapshot.host_changes and Engine.host_changes."""


class ObservedJob(Struct, frozen=True, kw_only=True):
    """A registered job, or, if `digest` is "", the history of an earlier one. `digest` comes from composer.plan.jobs;
    `stopped`: the schedules stopped with the project; `running`: a run is unfinished."""

    digest: str
    scheduled: bool = False
    stopped: bool = False
    running: bool = False


class Snapshot(Struct, kw_only=True):
    """`images` maps the project's image references to their current ids ("" when missing). `forwarding`: whether the
    host forwards packets, and which foreign chain drops them; `host_changes`: network → what another
    program removed of it, and network → foreign route to its addresses, and overlay networks with
    other hosts (see port.py)."""

    project: str
    containers: list[ContainerRecord]
    networks: dict[str, NetworkRecord]
    volumes: dict[str, VolumeRecord]
    images: dict[str, str] = {}
    jobs: dict[str, ObservedJob] = {}
    forwarding: tuple[bool, str] = (True, "")
    host_changes: Changed = ({}, {}, ())

    def service(self, name: str) -> list[ContainerRecord]:
        """The service's replicas (see `is_replica`), by number."""
        found = [c for c in self.containers if service_of(c) == name and is_replica(c)]
        return sorted(found, key=number_of)


def changes_by_host(look: HostChanges, desired: Desired | None, containers: Iterable[ContainerRecord]) -> Changed:
    """What the host has done to the project's networks, by Engine.host_changes."""
    names = {network.spec.name for network in desired.networks.values()} if desired else set()
    endpoints = [end for one in containers if one.state.status.alive for end in one.state.endpoints] if names else []
    return look(names, endpoints) if names else ({}, {}, ())


def take(
    project: str,
    containers: Iterable[ContainerRecord],
    networks: Iterable[NetworkRecord],
    volumes: Iterable[VolumeRecord],
    references: Iterable[str],
    image: Callable[[str], ImageRecord | None],
    forwarding: tuple[bool, str] = (True, ""),
    jobs: Mapping[str, ObservedJob] | None = None,
    host_changes: Changed = ({}, {}, ()),
) -> Snapshot:
    images = {}
    for reference in references:
        record = image(reference)
        images[reference] = record.id if record else ""
    return Snapshot(
        project=project,
        containers=list(containers),
        networks={record.spec.name: record for record in networks},
        volumes={record.spec.name: record for record in volumes},
        images=images,
        jobs=dict(jobs or {}),
        forwarding=forwarding,
        host_changes=host_changes,
    )


def dependencies_of(record: ContainerRecord) -> list[Dependency]:
    """The dependencies in the depends_on label ("db:service_healthy:false,cache:…"; old containers have only names)."""
    found = []
    for part in record.spec.labels.get(labels.DEPENDS_ON, "").split(","):
        name, _, rest = part.partition(":")
        condition, _, restart = rest.partition(":")
        if name:
            found.append(Dependency(service=name, condition=condition or STARTED, restart=restart == "true"))
    return found


def owners_of(record: ContainerRecord) -> set[str]:
    """The ids of the containers whose namespaces it shares."""
    modes = [getattr(record.spec, field) for field in NAMESPACES]
    return {mode.removeprefix("container:") for mode in modes if mode.startswith("container:")}


def missing_peer(record: ContainerRecord, snapshot: Snapshot) -> str:
    """What the container shares with a container of the project that no longer exists; "" if nothing."""
    there = {other.id for other in snapshot.containers}
    for field, words in NAMESPACES.items():
        mode = getattr(record.spec, field)
        if mode.startswith("container:") and mode.removeprefix("container:") not in there:
            return words
    for source in record.spec.volumes_from:
        if source.removeprefix("container:").partition(":")[0] not in there:
            return "volumes"
    return ""
