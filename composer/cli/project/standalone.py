"""Containers without a project: created from an image with the flags of docker run, started, and attached to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from msgspec import structs

from composer.cli.errors import CommandError, UsageError
from composer.cli.project.container_request import request
from composer.cli.project.direct_changes import CAUSE, perform
from composer.plan.labels import AUTOREMOVE, group_of
from composer.plan.operations import CreateVolume, Make, Remove, Start
from composer.serve.docker.body import Create, shaped
from composer.serve.docker.create import specification
from composer.serve.docker.create_check import with_ids
from composer.serve.http.errors import HTTPError
from composer.view import container_list, lookup
from composer.view.errors import Refusal
from composer.view.random_names import free_name
from engine.errors import EngineError
from engine.spec.network import VolumeSpec

if TYPE_CHECKING:
    from composer.cli.parsing.flags import Args
    from composer.cli.project.context import Context
    from composer.plan.operations import Change
    from composer.run.handles import Process
    from engine.spec.container import ContainerSpec
    from engine.spec.image import ImageRecord
    from engine.spec.state import ContainerRecord


def _image(context: Context, args: Args) -> ImageRecord:
    """The named image, pulled as --pull says. CommandError, EngineError."""
    from composer.cli.project.transfers import pull_image

    name = args.positional[0]
    if args.pull not in ("always", "missing", "never"):
        raise UsageError(f'invalid pull option: "{args.pull}": must be one of "always", "missing" or "never"')
    image = context.engine.image(name) if args.pull != "always" else None
    if image is None and args.pull != "never":
        pull_image(context, name, platform=args.platform, quiet=args.quiet)
        image = context.engine.image(name)
    if image is None:
        raise CommandError(f"No such image: {name}", 125)
    context.engine.admit(name)
    return image


def _specification(context: Context, args: Args, image: ImageRecord, *, attach: bool) -> ContainerSpec:
    """Raises UsageError for flags that docker run would refuse."""
    name = container_list.checked_name(args.name) if args.name else free_name(context.engine)
    payload, _ = shaped(request(args, context.environ, attach=attach), Create)
    try:
        spec = specification(name, payload, image)
    except HTTPError as error:
        raise UsageError(error.message, 125) from None
    if args.name:
        container_list.check_free(context.engine, name)
    return structs.replace(spec, labels={**spec.labels, AUTOREMOVE: "true"}) if args.rm else spec


def create(context: Context, args: Args, *, attach: bool = False) -> ContainerRecord:
    """Create the container that the flags describe, with the volumes that it names. CommandError, UsageError, EngineError."""
    if args.cidfile and os.path.exists(args.cidfile):
        raise CommandError(
            f"container ID file found, make sure the other container isn't running or delete {args.cidfile}", 125
        )
    spec = with_ids(context.engine, _specification(context, args, _image(context, args), attach=attach))
    known = {volume.spec.name for volume in context.engine.volumes()}
    named = dict.fromkeys(m.source for m in spec.mounts if m.type == "volume" and m.source and m.source not in known)
    operations: list[Change] = [
        CreateVolume(id=number, name=name, cause=CAUSE, volume=VolumeSpec(name=name))
        for number, name in enumerate(named)
    ]
    after = tuple(range(len(operations)))
    operations.append(Make(id=len(operations), name=spec.name, cause=CAUSE, spec=spec, after=after))
    made = perform(context, group_of(spec.labels), operations).container_id
    if args.cidfile:
        with open(args.cidfile, "x", encoding="ascii") as file:
            file.write(made)
    return lookup.container(context.engine, made)


def run(context: Context, args: Args) -> int:
    """`container run`: returns the container's exit code, unless detached. As with docker, 125 means that it could not be
    created."""
    try:
        return _run(context, args)
    except (CommandError, Refusal, EngineError) as error:
        code = getattr(error, "exit_code", 1)
        raise CommandError(str(error), code if code in (126, 127) else 125) from None


def _run(context: Context, args: Args) -> int:
    if args.tty and args.interactive and not args.detach and not os.isatty(0):
        raise CommandError("the input device is not a TTY")
    if args.detach and args.attach:
        raise UsageError("Conflicting options: -a and -d", 125)
    if context.dry_run:
        _specification(context, args, _image(context, args), attach=not args.detach)
        return 0
    record = create(context, args, attach=not args.detach)
    try:
        if args.detach:
            _start(context, record)
            print(record.id)
            return 0
        return start_attached(context, record, stdin=args.interactive, keys=args.detach_keys, sig_proxy=args.sig_proxy)
    except CommandError:
        if args.rm:  # its program never ran, so the supervisor does not remove it
            _remove(context, record)
        raise


def _start(context: Context, record: ContainerRecord) -> None:
    perform(context, record.group, [_starting(record)])


def _starting(record: ContainerRecord) -> Start:
    return Start(id=0, name=record.spec.name, cause=CAUSE, container_id=record.id)


def _remove(context: Context, record: ContainerRecord) -> None:
    operation = Remove(id=0, name=record.spec.name, cause=CAUSE, container_id=record.id, volumes=True, force=True)
    perform(context, record.group, [operation])


def start_attached(
    context: Context, record: ContainerRecord, *, stdin: bool, keys: str = "", sig_proxy: bool = True
) -> int:
    """Attach, start the program, and wait for its exit; returns the exit code."""
    from composer.cli.commands.attach import relay_until_exit, sender
    from composer.cli.terminal.tty import parse_keys

    sequence = parse_keys(keys)
    attached: list[Process] = []
    try:
        perform(
            context,
            record.group,
            [_starting(record)],
            attach=lambda container_id: attached.append(context.engine.attach(record.group, container_id)),
        )
        (process,) = attached
        stdin = stdin and record.spec.stdin_open
        signal = sender(context, record, process)
        return relay_until_exit(
            process, tty=record.spec.tty, stdin=stdin, keys=sequence, sig_proxy=sig_proxy, signal=signal
        )
    finally:
        for process in attached:
            process.close()
