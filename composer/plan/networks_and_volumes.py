"""Plan networks and volumes: create missing ones, recreate those that no longer match.

Recreating a network requires that its containers stop; they get new addresses. Recreating a volume would delete its
data, so a changed volume stays as it is, with a warning, unless the user agrees.
"""

from __future__ import annotations

from collections.abc import Iterable

from composer.plan import labels
from composer.plan.desired import Desired, DesiredService
from composer.plan.labels import is_oneoff, service_of
from composer.plan.observed import Snapshot
from composer.plan.operations import (
    CreateNetwork,
    CreateVolume,
    Plan,
    Rejoin,
    Remove,
    RemoveNetwork,
    RemoveVolume,
    Stop,
)
from composer.plan.options import Options
from engine.spec.network import LAN_DRIVERS, NetworkSpec, VolumeSpec
from engine.spec.state import ContainerRecord

_CONFLICTING_ROUTE = (
    "network {0}: its addresses overlap those of the route {1}, so containers and what is behind that link may not reach each "
    "other. Change that route, or choose another subnet (networks.{2}.ipam.config) and run down and up"
)

_DROPPED = (
    "the packet filter's chain {0} drops traffic that no rule accepts, including that of containers. "
    'Accept it there: nft \'add rule {0} iifname "cmp-*" accept; add rule {0} oifname "cmp-*" accept\''
)


class SharedProblem(Exception):
    """A network or volume is missing or belongs to another project; `str(e)` says what to do."""

    exit_code = 1


class Shared:
    """`networks` and `volumes`: name → the operation that creates it. `stopped` and `removed`: container id → the
    operation that does so."""

    def __init__(self, plan: Plan, desired: Desired, snapshot: Snapshot, options: Options) -> None:
        self._plan, self._desired, self._snapshot, self._options = plan, desired, snapshot, options
        self.networks: dict[str, int] = {}
        self.volumes: dict[str, int] = {}
        self.stopped: dict[str, int] = {}
        self.removed: dict[str, int] = {}

    def add(self, services: Iterable[DesiredService]) -> None:
        """Plan the networks and volumes of these services. Raises SharedProblem."""
        services = list(services)
        specs = [spec for service in services for spec in service.containers]
        wanted = {attachment.network for spec in specs for attachment in spec.networks}
        for key, network in self._desired.networks.items():
            if network.spec.name in wanted or self._options.all_resources:
                self._network(key, network.spec, external=network.external)
        known = {network.spec.name for network in self._desired.networks.values()} | self._snapshot.networks.keys()
        known.add("bridge")  # the engine creates it when a container needs it
        for name in sorted(wanted - known):
            raise SharedProblem(f"network {name} not found")
        for service in services:
            self._reach(service)
        mounted = {mount.source for spec in specs for mount in spec.mounts if mount.type == "volume"}
        for volume in self._desired.volumes.values():
            if volume.spec.name in mounted or self._options.all_resources:
                self._volume(volume.spec, external=volume.external)

    def drop_renamed(self) -> None:
        """Remove networks that were renamed in the files, and those of relays that are not needed any more, after the plan
        has moved all their containers. Volumes are kept, because they contain data."""
        moved = {op.container_id: op.id for op in self._plan.operations if isinstance(op, Remove | Rejoin)}
        names = {key: one.spec.name for key, one in self._desired.networks.items() if not one.external}
        for name, record in sorted(self._snapshot.networks.items()):
            given = record.spec.labels
            if given.get(labels.PROJECT) != self._snapshot.project:
                continue
            if labels.RELAY_NETWORK in given:
                now, cause = "", "its provider publishes no endpoint"
                if self._is_joined(name):
                    continue
            else:
                now = names.get(given.get(labels.NETWORK, ""), name)
                cause = f"it is now called {now}"
            if now == name:
                continue
            users = [c.id for c in self._snapshot.containers if any(a.network == name for a in c.spec.networks)]
            if all(user in moved for user in users):
                after = tuple(moved[user] for user in users)
                self._plan.add(RemoveNetwork, name, cause, after=after)

    def _is_joined(self, network: str) -> bool:
        services = self._desired.services.values()
        return any(joined.network == network for service in services for joined in service.container.networks)

    def _reach(self, service: DesiredService) -> None:
        """Warn about published ports that cannot be reached."""
        specs = {network.spec.name: network.spec for network in self._desired.networks.values() if not network.external}
        there = {name: record.spec for name, record in self._snapshot.networks.items()}
        own = [(specs.get(a.network) or there.get(a.network)) for a in service.container.networks]
        if service.container.ports and own and all(spec is not None and spec.internal for spec in own):
            self._warn(f"service {service.name}: no port is published, as all of its networks are internal")
        elif service.container.ports and own and all(spec is not None and spec.driver in LAN_DRIVERS for spec in own):
            self._warn(f"service {service.name}: no port is published, as it has addresses of its own on the LAN")

    def _network(self, key: str, spec: NetworkSpec, *, external: bool) -> None:
        existing = self._snapshot.networks.get(spec.name)
        meant = existing.spec if external and existing else spec
        if not meant.internal and meant.driver not in LAN_DRIVERS and self._snapshot.forwarding[1]:
            self._warn(_DROPPED.format(self._snapshot.forwarding[1]))
        missing_parts, conflicting_routes, moved = self._snapshot.host_changes
        if spec.name in conflicting_routes:
            self._warn(_CONFLICTING_ROUTE.format(spec.name, conflicting_routes[spec.name], key))
        if external:
            if existing is None:
                raise SharedProblem(f"network {spec.name} declared as external, but could not be found")
            if spec.name in missing_parts:
                self._create(existing.spec, missing_parts[spec.name])
            return
        if existing is None:
            return self._create(spec, "no such network")
        owner, name = existing.spec.labels.get(labels.PROJECT, ""), existing.spec.labels.get(labels.NETWORK, "")
        if name != key:
            whose = f"was created for project {owner!r}" if owner else "was not created by composer"
            raise SharedProblem(
                f"network {spec.name} exists but {whose} (label {labels.NETWORK} is {name!r}, expected {key!r}).\n"
                "Set `external: true` to use an existing network."
            )
        if owner != self._snapshot.project:
            self._warn(
                f"a network with name {spec.name} exists but was not created for project {self._snapshot.project!r}. "
                "Set `external: true` to use an existing network"
            )
            return
        changed = differences(existing.spec, spec)
        if spec.name in moved and not changed:
            return self._recreate(spec, "its hosts in networks.toml changed")
        if not changed:
            forwards = self._snapshot.forwarding[0] or spec.internal
            if not forwards or spec.name in missing_parts:
                self._create(spec, missing_parts.get(spec.name, "forwarding was switched off"))
            return
        self._recreate(spec, f"its {changed} changed")

    def _create(self, spec: NetworkSpec, cause: str, *, after: tuple[int, ...] = ()) -> None:
        """Plan to create the network, or what is missing of it."""
        self.networks[spec.name] = self._plan.add(CreateNetwork, spec.name, cause, network=spec, after=after).id

    def _recreate(self, spec: NetworkSpec, cause: str) -> None:
        """Plan to remove and create the network after its containers have stopped."""
        users = [c for c in self._snapshot.containers if any(a.network == spec.name for a in c.spec.networks)]
        for record in users:
            if is_oneoff(record) and record.state.status.up:
                raise SharedProblem(
                    f"network {spec.name}: {cause}, but the one-off container {record.spec.name} uses it: stop that first"
                )
        stops = tuple(
            self._stop(record, f"its network {spec.name} is recreated") for record in users if record.state.status.up
        )
        removed = self._plan.add(RemoveNetwork, spec.name, cause, after=stops)
        self._create(spec, cause, after=(removed.id,))

    def _volume(self, spec: VolumeSpec, *, external: bool) -> None:
        existing = self._snapshot.volumes.get(spec.name)
        if external:
            if existing is None:
                raise SharedProblem(f'external volume "{spec.name}" not found')
            return
        if existing is None:
            made = self._plan.add(CreateVolume, spec.name, "no such volume", volume=spec)
            self.volumes[spec.name] = made.id
            return
        owner = existing.spec.labels.get(labels.PROJECT, "")
        if owner != self._snapshot.project:
            whose = f'was created for project "{owner}"' if owner else "was not created by composer"
            self._warn(
                f'volume "{spec.name}" already exists but {whose}. Use `external: true` to use an existing volume'
            )
            return
        changed = differences(existing.spec, spec)
        if not changed:
            return
        if not self._options.recreate_volumes:
            self._warn(
                f'Volume "{spec.name}" exists but doesn\'t match configuration in compose file ({changed} changed). '
                "It stays as it is; `up --yes` recreates it (data will be lost)."
            )
            return
        removals = [
            self.remove(record, f"its volume {spec.name} is recreated")
            for record in self._snapshot.containers
            if any(m.type == "volume" and m.source == spec.name for m in record.spec.mounts)
        ]
        cause = f"its {changed} changed"
        removed = self._plan.add(RemoveVolume, spec.name, cause, after=tuple(removals))
        self.volumes[spec.name] = self._plan.add(CreateVolume, spec.name, cause, volume=spec, after=(removed.id,)).id

    def _warn(self, text: str) -> None:
        if text not in self._plan.warnings:
            self._plan.warnings.append(text)

    def _stop(self, record: ContainerRecord, cause: str) -> int:
        if record.id not in self.stopped:
            self.stopped[record.id] = self._plan.add_for(
                Stop,
                record,
                cause,
                service=self._desired.services.get(service_of(record)),
                timeout=self._options.timeout,
            ).id
        return self.stopped[record.id]

    def remove(self, record: ContainerRecord, cause: str) -> int:
        if record.id not in self.removed:
            after = (self._stop(record, cause),) if record.state.status.up else ()
            self.removed[record.id] = self._plan.add_for(Remove, record, cause, after=after).id
        return self.removed[record.id]


def differences(existing: NetworkSpec | VolumeSpec, wanted: NetworkSpec | VolumeSpec) -> str:
    """The fields that differ, as text; "" if none. Compose's own labels are ignored."""
    found = []
    for name in wanted.__struct_fields__:
        old, new = getattr(existing, name), getattr(wanted, name)
        if name == "labels":
            old, new = _own(old), _own(new)
        if old != new:
            found.append(name)
    return ", ".join(found)


def _own(given: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in given.items() if not key.startswith("com.docker.compose.")}
