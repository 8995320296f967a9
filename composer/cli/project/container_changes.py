"""Commands that change the state of single containers: `composer container stop`, `start`, `rm`, `prune` …"""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.errors import CommandError, UsageError
from composer.cli.parsing.flags import Args
from composer.view import container_list, lookup
from composer.view.filters import Filters
from composer.view.units import human_size
from engine.filetree.size import tree_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from composer.cli.project.context import Context
    from composer.plan.operations import Change
    from engine.spec.state import ContainerRecord


def _change(context: Context, args: Args, make: Callable[[ContainerRecord], list[Change]]) -> int:
    """Perform the operations of `make` on each container, and print its name when done."""
    from composer.cli.project.direct_changes import each, perform

    def one(name: str) -> None:
        record = lookup.container(context.engine, name)
        operations = make(record)
        if operations and not context.dry_run:
            perform(context, record.group, operations)
        print(name)

    return each(args.positional, one)


def operation_fields(record: ContainerRecord, number: int = 0) -> dict[str, object]:
    from composer.cli.project.direct_changes import CAUSE

    after = (number - 1,) if number else ()
    return {"id": number, "name": record.spec.name, "cause": CAUSE, "container_id": record.id, "after": after}


def _stop(record: ContainerRecord, args: Args) -> Change:
    from composer.plan.operations import Stop

    seconds = None if args.timeout is None else float("inf") if args.timeout < 0 else float(args.timeout)
    return Stop(**operation_fields(record), timeout=seconds, signal=args.signal)  # type: ignore[arg-type]


def stop(context: Context, args: Args) -> int:
    return _change(context, args, lambda one: [_stop(one, args)] if container_list.is_up(one) else [])


def restart(context: Context, args: Args) -> int:
    from composer.plan.operations import Start

    def make(record: ContainerRecord) -> list[Change]:
        if not container_list.is_up(record):
            return [Start(**operation_fields(record))]  # type: ignore[arg-type]
        return [_stop(record, args), Start(**operation_fields(record, 1))]  # type: ignore[arg-type]

    return _change(context, args, make)


def start(context: Context, args: Args) -> int:
    from composer.plan.operations import Start

    if args.attach or args.interactive:
        from composer.cli.project.standalone import start_attached

        if len(args.positional) > 1:
            raise UsageError("you cannot start and attach multiple containers at once")
        record = lookup.container(context.engine, args.positional[0])
        return start_attached(context, record, stdin=args.interactive, keys=args.detach_keys, sig_proxy=args.sig_proxy)
    return _change(
        context,
        args,
        lambda one: [Start(**operation_fields(one))] if not container_list.is_up(one) else [],  # type: ignore[arg-type]
    )


def kill(context: Context, args: Args) -> int:
    from composer.plan.operations import Kill

    def make(record: ContainerRecord) -> list[Change]:
        if not container_list.is_up(record):
            raise CommandError(f"cannot kill container: {record.spec.name}: container {record.id} is not running")
        return [Kill(**operation_fields(record), signal=args.signal)]  # type: ignore[arg-type]

    return _change(context, args, make)


def pause(context: Context, args: Args) -> int:
    from composer.plan.operations import Pause

    return _change(context, args, lambda one: [Pause(**operation_fields(one))])  # type: ignore[arg-type]


def unpause(context: Context, args: Args) -> int:
    from composer.plan.operations import Unpause

    return _change(context, args, lambda one: [Unpause(**operation_fields(one))])  # type: ignore[arg-type]


def rename(context: Context, args: Args) -> int:
    from composer.cli.project.direct_changes import perform
    from composer.plan.operations import Rename

    record, name = lookup.container(context.engine, args.positional[0]), args.positional[1]
    container_list.check_free(context.engine, name)
    if not context.dry_run:
        perform(context, record.group, [Rename(**{**operation_fields(record), "name": name})])  # type: ignore[arg-type]
    return 0


def rm(context: Context, args: Args) -> int:
    from composer.cli.project.direct_changes import each, perform
    from composer.plan.operations import Remove

    def remove(name: str) -> None:
        record = lookup.container(context.engine, name)
        if not args.force:
            container_list.check_removable(record, name)
        if not context.dry_run:
            operation = Remove(**operation_fields(record), volumes=args.volumes, force=args.force)  # type: ignore[arg-type]
            perform(context, record.group, [operation])
        print(name)

    return each(args.positional, remove, force=args.force)


def prune(context: Context, args: Args) -> int:
    from composer.cli.project.direct_changes import agreed

    removable = container_list.stopped(context.engine, Filters.of_flags(args.filter, container_list.PRUNE_FILTERS))
    sizes = {one.id: tree_size(f"{context.engine.folder(one.group, one.id)}/upper") for one in removable}
    lines = [f"container {one.spec.name} ({human_size(sizes[one.id], 4)})" for one in removable]
    if not agreed(context, "This will remove all stopped containers.", lines, force=args.force):
        return 0
    freed = remove_unused(context, removable)
    print(f"Total reclaimed space: {human_size(freed, 4)}")
    return 0


def remove_unused(context: Context, removable: list[ContainerRecord]) -> int:
    """Remove stopped containers and report them; returns the bytes that they had written."""
    from composer.cli.project.direct_changes import perform
    from composer.plan.operations import Remove

    freed = 0
    if removable:
        print("Deleted Containers:")
    for record in removable:
        freed += tree_size(f"{context.engine.folder(record.group, record.id)}/upper")
        perform(context, record.group, [Remove(**operation_fields(record))])  # type: ignore[arg-type]
        print(record.id)
    print(end="\n" if removable else "")
    return freed
