"""Starting a container: leases, bundle, process, network, program. A failure undoes the steps before it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from anyio import CancelScope, Event, to_thread

from engine.container import bundle, capabilities, cdi, devices, link_variables, log_driver
from engine.container import state as files
from engine.container.seccomp import compile as seccomp
from engine.errors import EngineError, InvalidSpec, NotFound, OperationFailed, StartFailed, WrongState
from engine.filetree.remove import remove as remove_tree
from engine.kernel.boot import boot_id
from engine.net import bridge
from engine.net.redirect import redirect
from engine.paths import BUNDLE_FILE, EXIT_FILE, make_private
from engine.session import name_files
from engine.session.group import Group
from engine.spec.container import ContainerSpec, Healthcheck
from engine.spec.image import ImageRecord
from engine.spec.logtag import NOBODY
from engine.spec.network import VolumeSpec
from engine.spec.state import ContainerExit, ContainerRecord, ContainerState, Health, Status
from engine.volume import store as volumes

if TYPE_CHECKING:
    from engine.keeper.client import KeeperClient
    from engine.net.endpoint import Plan

_REMEMBERED = 10
"""Limit of exits in a container's state."""


async def start(group: Group, container_id: str, ready: Callable[[], Awaitable[None]] | None = None) -> ContainerRecord:
    """See Changes.start."""
    await group.settled()
    record = group.record(container_id)
    if not record.state.status.can_start:
        raise WrongState(f"container {record.spec.name} is {record.state.status.value} and cannot be started")
    group.starting.add(container_id)
    try:
        return await _start(group, record, ready)
    finally:
        group.starting.discard(container_id)


async def _start(group: Group, record: ContainerRecord, ready: Callable[[], Awaitable[None]] | None) -> ContainerRecord:
    keeper = await group.keeper()
    container_id, spec = record.id, record.spec
    streams: list[int] = []
    try:
        image = group.image(spec.image)
        await group.wiring.obtain(container_id, spec.networks)
        plans = group.wiring.lease(container_id, spec.networks)
        # Without a network of ours there is nothing to publish; on the host's network, the port would conflict with itself.
        bindings = group.wiring.reserve(container_id, spec.ports if plans else (), plans)
        path = _write_bundle(group, record, image, plans)
        await _reach_log_target(spec)
        answer, streams = await keeper.ask("create", id=container_id, bundle=path)
        pid, pid_start = answer["pid"], answer["pid_start"]
        await _connect(group, keeper, container_id, pid, plans)
        group.ended.setdefault(container_id, Event())
        running = _running(record.state, checked=_is_checked(spec.healthcheck, image.config.healthcheck))
        endpoints = tuple(plan.endpoint for plan in plans)
        process = {"pid": pid, "pid_start": pid_start, "boot_id": boot_id()}
        state = msgspec.structs.replace(running, endpoints=endpoints, ports=tuple(bindings), **process)
        started = group.replace(container_id, state)
        group.publish(container_id)
        if not plans and (text := name_files.resolv_conf(group, started)) is not None:
            group.resolvers.follow(started, text)
        if plans:
            await _serve_names(group, container_id, pid)
        if ready is not None:
            await ready()
        given, streams = streams, []
        await group.retain(started, keeper, given)
        await keeper.ask("start", id=container_id)
        group.confirm(container_id)
    except BaseException as error:
        for fd in streams:
            os.close(fd)
        with CancelScope(shield=True):
            await _undo(group, record, error)
        raise
    return started


def _running(state: ContainerState, *, checked: bool) -> ContainerState:
    """The state of a container that starts now; `checked`: it has a healthcheck."""
    return msgspec.structs.replace(
        state,
        status=Status.RUNNING,
        started_at=time.time(),
        exit_history=_exit_history(state),
        finished_at=0.0,
        exit_code=0,
        oom_killed=False,
        error="",
        stopped_by_user=False,
        stopping=False,
        returns=False,
        health=Health(status="starting") if checked else None,
    )


def _exit_history(state: ContainerState) -> tuple[ContainerExit, ...]:
    if not state.finished_at:
        return state.exit_history
    last = ContainerExit(exit_code=state.exit_code, finished_at=state.finished_at, oom_killed=state.oom_killed)
    return (*state.exit_history, last)[-_REMEMBERED:]


def _is_checked(own: Healthcheck | None, images: Healthcheck | None) -> bool:
    test = (own.test if own else None) or (images.test if images else None)
    return bool(test and test[0] != "NONE")


async def _reach_log_target(spec: ContainerSpec) -> None:
    """As with Docker, a container does not start when its log target is unreachable, unless its driver may wait."""
    if spec.logging.driver in ("", *log_driver.LOCAL):
        return
    from engine.log.ship.connect import connect

    ship: Any = log_driver.settings(spec.logging, NOBODY, "")["ship"]
    if ship["options"].get("async"):
        return
    try:
        (await to_thread.run_sync(connect, ship)).close()
    except OSError as error:
        text = error.strerror or str(error)
        raise StartFailed(f"failed to initialize logging driver {ship['driver']}: {text}") from error


async def _connect(group: Group, keeper: KeeperClient, container_id: str, pid: int, plans: list[Plan]) -> None:
    """Connect the process's network namespace. If that fails because the process has exited, raises why it has."""
    try:
        await group.wiring.connect(container_id, pid, plans)
    except EngineError:
        await keeper.ask("failure", id=container_id)
        raise


async def _serve_names(group: Group, container_id: str, pid: int) -> None:
    """Fetch the DNS sockets of the container's network namespace and answer there."""
    _, descriptors = await (await group.keeper()).ask("sockets", id=container_id)
    if len(descriptors) == 2:  # otherwise its start has failed, which the next request reports
        resolvers = group.record(container_id).spec.dns
        await redirect(pid, *group.dns.serve(container_id, descriptors[0], descriptors[1], resolvers))


async def _undo(group: Group, record: ContainerRecord, error: BaseException) -> None:
    """Kill the forked process and release everything; the state is the previous one, plus the error."""
    group.ended.pop(record.id, None)
    try:
        keeper = await group.keeper()
        await keeper.ask("signal", id=record.id, signal=9)
        await keeper.ask("failure", id=record.id)  # answered once the process has exited
    except EngineError:
        pass  # it was never forked, or has exited
    files.drop_start(group.folder(record.id))
    await group.clean(record.id)
    code = getattr(error, "exit_code", 0) or 128
    failed = msgspec.structs.replace(record.state, error=str(error), exit_code=code)
    group.replace(record.id, failed)


def _mounted_images(group: Group, spec: ContainerSpec) -> dict[str, list[str]]:
    """Image → the directories of its layers, for mounts of type image."""
    sources = [mount.source for mount in spec.mounts if mount.type == "image"]
    return {one: [f"{group.roots.layers}/{layer}/diff" for layer in group.image(one).layers] for one in sources}


def _write_bundle(group: Group, record: ContainerRecord, image: ImageRecord, plans: list[Plan]) -> str:
    spec, folder = cdi.applied(record.spec), group.folder(record.id)
    run_folder = group.run_folder(record.id)
    nodes = devices.nodes(spec)
    bits = capabilities.effective(spec.cap_add, spec.cap_drop, privileged=spec.privileged)
    handle = group.cgroups.create(
        group.name,
        record.id,
        spec.resources,
        parent=spec.cgroup_parent,
        device_rules=devices.rules(spec, nodes),
    )
    facts = bundle.Facts(
        group=group.name,
        folder=folder,
        run_folder=run_folder,
        names=name_files.texts(group, record, [plan.endpoint for plan in plans]),
        layers_folder=group.roots.layers,
        hostname=name_files.hostname(group, record),
        volumes=_volumes(group, record, image),
        images=_mounted_images(group, spec),
        joined=_joined(group, record),
        linked=_linked(group, record),
        seccomp=seccomp.program(group.roots, spec.security_opt, bits, privileged=spec.privileged),
        apparmor=group.apparmor.name,
        devices=nodes,
        cgroup_procs=handle.procs,
        cgroup_folders=handle.folders,
        oom_files=handle.oom_files,
        unified=group.cgroups.unified,
    )
    try:
        _make_empty_directory(run_folder)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{folder}/{EXIT_FILE}")
        path = f"{run_folder}/{BUNDLE_FILE}"
        files.write_file(path, msgspec.json.encode(bundle.make(spec, image, facts)), os.O_EXCL, 0o600)
    except OSError as error:
        raise OperationFailed.of("write the files of", spec.name, error) from error
    return path


def _make_empty_directory(folder: str) -> None:
    """Create an empty, private directory, replacing an existing one."""
    try:
        os.mkdir(folder, 0o700)
    except FileNotFoundError:
        make_private(folder)
    except FileExistsError:
        remove_tree(folder)
        make_private(folder)


def _joined(group: Group, record: ContainerRecord) -> dict[str, int]:
    """Name in a mode → pid of the container whose namespace is joined. Raises WrongState if one does not run,
    InvalidSpec if it does not share its namespace."""
    found = {}
    for mode in bundle.joins(record.spec):
        name = mode.removeprefix("container:")
        other = group.other(name)
        if not other.state.status.alive:
            raise WrongState(
                f"container {record.spec.name} cannot join the namespaces of {other.spec.name}, which is not running"
            )
        if mode == record.spec.ipc_mode and other.spec.ipc_mode in ("", "private", "none"):
            raise InvalidSpec(
                f"container {record.spec.name} cannot join the IPC namespace of {other.spec.name}, which is private",
                hint="Set ipc: shareable on that container.",
            )
        found[name] = other.state.pid
    return found


def _linked(group: Group, record: ContainerRecord) -> dict[str, str]:
    """The variables of its links to running containers on the default bridge."""
    found: dict[str, str] = {}
    for name, alias in record.spec.links:
        try:
            other = group.other(name)
            image = group.image(other.spec.image)
        except NotFound:
            continue
        address = next((one.ipv4_address for one in other.state.endpoints if one.network == bridge.DEFAULT), "")
        if other.state.status.alive and address:
            exposed = {*other.spec.expose, *image.config.exposed_ports}
            texts = [text.partition("/") for text in exposed]
            ports = {
                (int(number), protocol or "tcp")
                for number, _, protocol in texts
                if number.isdecimal() and len(number) < 6
            }
            ports |= {(port.container_port, port.protocol) for port in other.spec.ports}
            environment = bundle.environment(other.spec, image)
            found |= link_variables.variables(record.spec.name, alias, address, ports, environment)
    return found


def _volumes(group: Group, record: ContainerRecord, image: ImageRecord) -> dict[str, str]:
    """Volume name → directory; it is mounted if driver options require that, and filled from the image if it is
    empty."""
    found = {}
    layers = [f"{group.roots.layers}/{layer}/diff" for layer in image.layers]
    for mount in record.spec.mounts:
        if mount.type != "volume":
            continue
        volume = volumes.get(group.store, mount.source)
        if volume is None:
            if mount.source not in record.state.anonymous_volumes:
                raise NotFound("volume", mount.source)
            volume = volumes.create(group.store, VolumeSpec(name=mount.source, labels=mount.labels, anonymous=True))
        found[mount.source] = volumes.prepare(volume)
        if not mount.nocopy and not mount.subpath:
            from engine.volume.copyup import copy_up  # most containers have no volume

            copy_up(layers, mount.target, volume)
    return found
