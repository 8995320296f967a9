"""Listings of containers: the selection, and the rows (Docker Engine API 1.55, "Containers")."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from composer.plan.naming import NAME
from composer.view import lookup
from composer.view.containers import command_text, status_text
from composer.view.errors import InUse, Refusal
from composer.view.filters import Filters, matches
from composer.view.inspect import mounts, networks
from engine.filetree.size import tree_size
from engine.spec.state import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from composer.run.port import Engine
    from engine.spec.container import ContainerSpec
    from engine.spec.state import ContainerRecord

FILTERS = (
    "ancestor", "annotation", "before", "expose", "exited", "health", "id", "is-task", "isolation", "label", "name",
    "network", "publish", "since", "status", "volume",
)  # fmt: skip
STATUSES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
HEALTH = ("none", "starting", "healthy", "unhealthy")
PRUNE_FILTERS = ("label", "label!", "until")


def selected(engine: Engine, filters: Filters, *, everything: bool = False) -> list[ContainerRecord]:
    """The containers that match, newest first; only running ones without `everything` or a filter that selects others.
    Raises Refusal."""
    everything = everything or "status" in filters or "exited" in filters
    fits = _fitting(engine, filters)
    return [record for record in lookup.every(engine) if (everything or record.state.status.up) and fits(record)]


def stopped(engine: Engine, filters: Filters) -> list[ContainerRecord]:
    """The containers that a prune removes: those that do not run. Raises Refusal."""
    until = filters.before()
    return [
        record
        for record in lookup.every(engine)
        if record.state.status in (Status.CREATED, Status.EXITED, Status.DEAD)
        and filters.labelled(record.spec.labels)
        and (until is None or record.state.created_at < until)
    ]


def listed(engine: Engine, record: ContainerRecord, *, sizes: bool) -> dict[str, Any]:
    spec, image = record.spec, engine.image(record.spec.image)
    entry: dict[str, Any] = {
        "Id": record.id,
        "Names": [f"/{spec.name}"],
        "Image": _image_name(engine, spec),
        "ImageID": spec.image,
        "Command": command_text(record, image.config if image else None),
        "Created": int(record.state.created_at),
        "Ports": _ports(record),
        "Labels": {**(image.config.labels if image else {}), **lookup.labels(record)},
        "State": record.state.status.value,
        "Status": status_text(record),
        "HostConfig": {"NetworkMode": spec.network_mode or (spec.networks[0].network if spec.networks else "none")},
        "NetworkSettings": {"Networks": networks(engine, record)},
        "Mounts": mounts(engine, record),
    }
    if sizes:
        entry["SizeRw"] = tree_size(f"{engine.folder(record.group, record.id)}/upper")
        entry["SizeRootFs"] = entry["SizeRw"] + (image.size if image else 0)
    return entry


def _image_name(engine: Engine, spec: ContainerSpec) -> str:
    """The image's name at the container's creation; its id if another image has that name by now, or none."""
    if spec.image_ref and spec.image_ref != spec.image:
        named = engine.image(spec.image_ref)
        return (
            spec.image_ref if named is not None and named.id == spec.image else spec.image.removeprefix("sha256:")[:12]
        )
    return spec.image


def _ports(record: ContainerRecord) -> list[dict[str, Any]]:
    if not record.state.status.alive:
        return []
    published = {(binding.container_port, binding.protocol) for binding in record.state.ports}
    rows: list[dict[str, Any]] = []
    for text in record.spec.expose:
        port, _, protocol = text.partition("/")
        if _is_number(port) and (int(port), protocol or "tcp") not in published:
            rows.append({"PrivatePort": int(port), "Type": protocol or "tcp"})
    for binding in record.state.ports:
        for host in [binding.host_ip] if binding.host_ip else ["0.0.0.0", "::"]:
            row = {"IP": host, "PrivatePort": binding.container_port, "PublicPort": int(binding.host_port or 0)}
            rows.append({**row, "Type": binding.protocol})
    return rows


def _fitting(engine: Engine, filters: Filters) -> Callable[[ContainerRecord], bool]:
    """Whether a container passes all filters; names in them are resolved once. Raises Refusal, Unknown."""
    if not filters:
        return lambda record: True
    _check_values(filters)
    task = filters.boolean("is-task")
    before = [lookup.container(engine, name).state.created_at for name in filters.get("before")]
    since = [lookup.container(engine, name).state.created_at for name in filters.get("since")]
    ancestors = {record.id for name in filters.get("ancestor") if (record := engine.image(name))}
    known = {network.id: network.spec.name for network in engine.networks()}

    def fits(record: ContainerRecord) -> bool:
        spec, state = record.spec, record.state
        attached = {spec.network_mode, *(one.network for one in spec.networks)} - {""}
        places = {place for mount in spec.mounts for place in (mount.source, mount.target)}
        health = state.health.status if state.health else "none"
        return (
            not task
            and filters.any("name", partial(_named, spec.name))
            and filters.any("id", record.id.startswith)
            and filters.any("status", lambda value: value == state.status.value)
            and filters.any("health", lambda value: value == health)
            and filters.any("exited", lambda value: _exited(record) and int(value) == state.exit_code)
            and filters.any("network", lambda value: bool({value, _network(known, value)} & attached))
            and filters.any("volume", lambda value: value in places or value.rstrip("/") in places)
            and filters.any("publish", lambda value: _has_port(_bound(record), value, "publish"))
            and filters.any("expose", lambda value: _has_port({*_exposed(record), *_bound(record)}, value, "expose"))
            and (not filters.get("ancestor") or spec.image in ancestors)
            and filters.labels(spec.labels)
            and filters.labels(spec.annotations, "annotation")
            and all(state.created_at < created for created in before)
            and all(state.created_at > created for created in since)
        )

    return fits


def _check_values(filters: Filters) -> None:
    """Raises Refusal for a value that a filter does not accept."""
    for name, word, allowed in (("status", "state", STATUSES), ("health", "health", HEALTH)):
        for value in filters.get(name):
            if value not in allowed:
                raise Refusal(
                    f"invalid filter '{name}={value}': invalid value for {word} ({value}): must be one of "
                    + ", ".join(allowed)
                )
    for value in filters.get("exited"):
        if not value.lstrip("-").isdecimal():
            raise Refusal(f"invalid filter 'exited={value}': strconv.Atoi: parsing \"{value}\": invalid syntax")


def _is_number(port: str) -> bool:
    """Whether an exposed port, which may be any text, is a number."""
    return port.isascii() and port.isdecimal() and len(port) < 6


def _named(name: str, wanted: str) -> bool:
    return matches(wanted, name) or matches(wanted, f"/{name}")


def _exited(record: ContainerRecord) -> bool:
    return record.state.status is Status.EXITED


def _network(known: dict[str, str], wanted: str) -> str:
    return next((name for key, name in known.items() if wanted and key.startswith(wanted)), "")


def _bound(record: ContainerRecord) -> set[tuple[int, str]]:
    return {(int(binding.host_port or 0), binding.protocol) for binding in record.state.ports} | {
        (binding.container_port, binding.protocol) for binding in record.state.ports
    }


def _exposed(record: ContainerRecord) -> set[tuple[int, str]]:
    rows = set()
    for text in record.spec.expose if record.state.status.alive else ():
        port, _, protocol = text.partition("/")
        if _is_number(port):
            rows.add((int(port), protocol or "tcp"))
    return rows


def _has_port(ports: set[tuple[int, str]], wanted: str, name: str) -> bool:
    """`80`, `80/udp`, `8000-8010/tcp`. Refusal."""
    text, _, protocol = wanted.partition("/")
    first, _, last = text.partition("-")
    try:
        low, high = int(first), int(last or first)
    except ValueError:
        shown = next((part for part in (first, last) if part and not part.isdecimal()), text)
        raise Refusal(
            f'error while looking up for {name} {wanted}: strconv.ParseUint: parsing "{shown}": invalid syntax'
        ) from None
    return any(low <= port <= high and kind == (protocol or "tcp") for port, kind in ports)


def is_up(record: ContainerRecord) -> bool:
    """Docker lists these without --all."""
    return record.state.status.up


def is_running(record: ContainerRecord) -> bool:
    """Check that a process can be started in it."""
    return record.state.status is Status.RUNNING


def checked_name(name: str) -> str:
    """A container's name without Docker's leading slash. Raises Refusal."""
    plain = name.removeprefix("/")
    if not re.fullmatch(NAME, plain):
        raise Refusal(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return plain


def check_free(engine: Engine, name: str) -> None:
    """Check that a container can get this name. Raises Refusal, InUse."""
    name = checked_name(name)
    for record in lookup.every(engine):
        if record.spec.name == name:
            raise InUse(
                f'Conflict. The container name "/{name}" is already in use by container "{record.id}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )


def check_removable(record: ContainerRecord, name: str) -> None:
    """Check that a container can be removed without force. Raises InUse."""
    if record.state.status.can_remove:
        return
    state = "running" if record.state.status is Status.RUNNING else record.state.status.value
    hint = "stop the container before removing or force remove"
    if record.state.status is Status.PAUSED:
        hint = "unpause and then stop the container before removing or force remove"
    raise InUse(f'cannot remove container "{name}": container is {state}: {hint}')
