"""The container of `composer run`: created and started after the services that it depends on."""

from __future__ import annotations

import contextlib
from functools import partial

import msgspec
from anyio import CancelScope

from composer.plan.desired import DesiredService
from composer.plan.operations import Create, CreateVolume, Start
from composer.run import container_spec
from composer.run.attach_handshake import AttachHandshake
from composer.run.executor import Executor
from composer.run.protocol import BEGUN, DONE, FAILED, Failure, OneOff, Step
from engine.errors import EngineError
from engine.spec.container import ContainerSpec
from engine.spec.network import VolumeSpec


async def _make_volumes(executor: Executor, spec: ContainerSpec) -> None:
    """Create the named volumes on the command line that do not exist."""
    made = {operation.name for operation in executor.plan.operations if isinstance(operation, CreateVolume)}
    there = executor.context.snapshot.volumes.keys() | made
    for mount in spec.mounts:
        if mount.type == "volume" and mount.source and mount.source not in there:
            with CancelScope(shield=True):
                await executor.context.changes.create_volume(VolumeSpec(name=mount.source))


async def start(executor: Executor, wanted: OneOff, handshake: AttachHandshake | None) -> str:
    """Create the container, let the command attach, and start its program. Returns its id, or "" on failure."""
    context, name = executor.context, wanted.spec.name
    kind: type[Create | Start] = Create
    container_id = ""

    def report(state: str) -> None:
        context.send(Step(kind=str(kind.__struct_config__.tag), name=name, state=state))

    try:
        report(BEGUN)
        service = context.desired.services.get(wanted.service) if context.desired else None
        spec = _specification(executor, wanted, service)
        executor.warn_of_ignored_settings(spec, wanted.service)
        await _make_volumes(executor, spec)
        with CancelScope(shield=True):
            container_id = (await context.changes.create(spec)).id
        report(DONE)
        kind = Start
        report(BEGUN)
        ready = partial(handshake.attached, container_id) if wanted.attach and handshake is not None else None
        await context.changes.start(container_id, ready=ready)
        context.monitor.started(container_id)
        if service is not None and service.post_start:
            from composer.run import hooks

            await hooks.run(context, container_id, service, "post_start")
        report(DONE)
    except EngineError as error:
        report(FAILED)
        executor.failures.append(Failure(message=f"service {wanted.service}: {error}"))
    except BaseException:
        if container_id:  # the command hung up before the program started
            with CancelScope(shield=True):
                await _forget(executor, container_id)
        raise
    return container_id


def _specification(executor: Executor, wanted: OneOff, service: DesiredService | None) -> ContainerSpec:
    """The specification, with ids for the images and containers that it names."""
    images = executor.context.snapshot.images
    name = wanted.spec.image_ref or wanted.spec.image
    if service is not None and service.image == name:
        name = service.wanted_image
    image = container_spec.image_id(name, images, wanted.service)
    mounts = container_spec.mounts(wanted.spec, images, wanted.service)
    spec = msgspec.structs.replace(container_spec.with_image(wanted.spec, image), mounts=mounts)
    return container_spec.joined(spec, executor.find)


async def _forget(executor: Executor, container_id: str) -> None:
    changes = executor.context.changes
    with contextlib.suppress(EngineError):
        if not changes.record(container_id).state.started_at:
            await changes.remove(container_id, force=True, volumes=True)
