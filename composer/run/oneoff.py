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
    there = executor.scene.snapshot.volumes.keys() | made
    for mount in spec.mounts:
        if mount.type == "volume" and mount.source and mount.source not in there:
            with CancelScope(shield=True):
                await executor.scene.changes.create_volume(VolumeSpec(name=mount.source))


async def start(executor: Executor, wanted: OneOff, handshake: AttachHandshake | None) -> str:
    """Create the container, let the command attach, and start its program. Returns its id, or "" on failure."""
    scene, name = executor.scene, wanted.spec.name
    kind: type[Create | Start] = Create
    container_id = ""

    def tell(state: str) -> None:
        scene.tell(Step(kind=str(kind.__struct_config__.tag), name=name, state=state))

    try:
        tell(BEGUN)
        service = scene.desired.services.get(wanted.service) if scene.desired else None
        spec = _specification(executor, wanted, service)
        executor.say_left_out(spec, wanted.service)
        await _make_volumes(executor, spec)
        with CancelScope(shield=True):
            container_id = (await scene.changes.create(spec)).id
        tell(DONE)
        kind = Start
        tell(BEGUN)
        ready = partial(handshake.attached, container_id) if wanted.attach and handshake is not None else None
        await scene.changes.start(container_id, ready=ready)
        scene.monitor.started(container_id)
        if service is not None and service.post_start:
            from composer.run import hooks

            await hooks.run(scene, container_id, service, "post_start")
        tell(DONE)
    except EngineError as error:
        tell(FAILED)
        executor.failures.append(Failure(message=f"service {wanted.service}: {error}"))
    except BaseException:
        if container_id:  # the command hung up before the program started
            with CancelScope(shield=True):
                await _forget(executor, container_id)
        raise
    return container_id


def _specification(executor: Executor, wanted: OneOff, service: DesiredService | None) -> ContainerSpec:
    """The specification, with ids for the images and containers that it names."""
    images = executor.scene.snapshot.images
    name = wanted.spec.image_ref or wanted.spec.image
    if service is not None and service.image == name:
        name = service.wanted_image
    image = container_spec.image_id(name, images, wanted.service)
    mounts = container_spec.mounts(wanted.spec, images, wanted.service)
    spec = msgspec.structs.replace(container_spec.with_image(wanted.spec, image), mounts=mounts)
    return container_spec.joined(spec, executor.find)


async def _forget(executor: Executor, container_id: str) -> None:
    changes = executor.scene.changes
    with contextlib.suppress(EngineError):
        if not changes.record(container_id).state.started_at:
            await changes.remove(container_id, force=True, volumes=True)
