"""composer volume: the volumes of all projects."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError
from composer.cli.parsing.command_table import group
from composer.cli.parsing.flags import NO_SWARM, Args, Command, Flag
from composer.cli.render.listing import FILTER, FORCE, FORMAT, INSPECT, ids_only, inspect, labels, listing
from composer.view import volumes
from composer.view.filters import Filters

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from engine.spec.network import VolumeRecord

HEADERS = {
    "Availability": "AVAILABILITY", "Driver": "DRIVER", "Group": "GROUP", "Labels": "LABELS", "Links": "LINKS",
    "Mountpoint": "MOUNTPOINT", "Name": "VOLUME NAME", "Scope": "SCOPE", "Size": "SIZE", "Status": "STATUS",
}  # fmt: skip


def ls(context: Context, args: Args) -> int:
    found = volumes.selected(context.engine, Filters.of_flags(args.filter, volumes.FILTERS))
    if ids_only(args):
        print("".join(f"{record.spec.name}\n" for record in found), end="")
        return 0
    unknown = dict.fromkeys(("Availability", "Group", "Links", "Size", "Status"), "N/A")
    rows = [
        {
            **unknown,
            "Driver": record.spec.driver,
            "Labels": labels(record.spec.labels),
            "Mountpoint": record.mountpoint,
            "Name": record.spec.name,
            "Scope": "local",
        }
        for record in found
    ]
    print(listing(args.format, rows, HEADERS, ("Driver", "Name")), end="")
    return 0


def show(context: Context, args: Args) -> int:
    text, errors = inspect(args.positional, lambda name: volumes.shown(volumes.need(context.engine, name)), args.format)
    print(text, end="")
    print("".join(f"{error}\n" for error in errors), end="", file=sys.stderr)
    return 1 if errors else 0


def create(context: Context, args: Args) -> int:
    from composer.cli.project.direct_changes import CAUSE, perform
    from composer.plan.labels import group_of
    from composer.plan.operations import CreateVolume
    from engine.spec.network import VolumeSpec

    name = args.positional[0] if args.positional else os.urandom(32).hex()
    volumes.check_name(name)
    if args.driver not in ("local", "default"):
        raise CommandError(
            f'create {name}: error looking up volume plugin {args.driver}: plugin "{args.driver}" not found'
        )
    spec = VolumeSpec(
        name=name,
        driver_opts=dict(text.partition("=")[::2] for text in args.opt),
        labels=dict(text.partition("=")[::2] for text in args.label),
        anonymous=not args.positional,
    )
    if not context.dry_run and all(record.spec.name != name for record in context.engine.volumes()):
        perform(context, group_of(spec.labels), [CreateVolume(id=0, name=name, cause=CAUSE, volume=spec)])
    print(name)
    return 0


def _remove(context: Context, name: str) -> None:
    from composer.cli.project.direct_changes import CAUSE, perform
    from composer.plan.labels import group_of
    from composer.plan.operations import RemoveVolume

    record = volumes.need(context.engine, name)
    perform(context, group_of(record.spec.labels), [RemoveVolume(id=0, name=name, cause=CAUSE)])


def rm(context: Context, args: Args) -> int:
    from composer.cli.project.direct_changes import each
    from composer.view.errors import Unknown

    def remove(name: str) -> None:
        try:
            volumes.need(context.engine, name)
            volumes.check_removable(context.engine, name)
            if not context.dry_run:
                _remove(context, name)
        except Unknown:
            if not args.force:
                raise
        print(name)

    return each(args.positional, remove)


def prune(context: Context, args: Args) -> int:
    from composer.cli.project.direct_changes import agreed
    from composer.view.units import human_size
    from engine.filetree.size import tree_size

    filters = Filters.of_flags(args.filter, volumes.PRUNE_FILTERS)
    everything = args.all or bool(filters.boolean("all"))
    removable = volumes.unused(context.engine, filters, everything=everything)
    sizes = {record.spec.name: tree_size(record.mountpoint) for record in removable}
    kind = "all" if everything else "anonymous local"
    lines = [f"volume {name} ({human_size(size, 4)})" for name, size in sizes.items()]
    warning = f"This will remove {kind} volumes not used by at least one container."
    if not agreed(context, warning, lines, force=args.force):
        return 0
    freed = remove_unused(context, removable)
    print(f"Total reclaimed space: {human_size(freed, 4)}")
    return 0


def remove_unused(context: Context, removable: list[VolumeRecord]) -> int:
    """Remove volumes and report them; returns the bytes that they used."""
    from engine.filetree.size import tree_size

    freed = 0
    if removable:
        print("Deleted Volumes:")
    for record in removable:
        freed += tree_size(record.mountpoint)
        _remove(context, record.spec.name)
        print(record.spec.name)
    print(end="\n" if removable else "")
    return freed


_CLUSTER = (
    "availability", "group", "limit-bytes", "required-bytes", "scope", "secret", "sharing", "topology-preferred",
    "topology-required", "type",
)  # fmt: skip

GROUP = group(
    "volume",
    {
        "create": (
            Command(
                "volume create",
                "Create a volume",
                "volume create [OPTIONS] [VOLUME]",
                (
                    Flag("driver", "Volume driver", "string", short="d", default="local"),
                    Flag("label", "Set metadata for a volume: KEY=VALUE", "strings"),
                    Flag("opt", "Set driver specific options: KEY=VALUE", "strings", short="o"),
                    *(Flag(name, "For a cluster volume", "string", hidden=True, refused=NO_SWARM) for name in _CLUSTER),
                ),
                positional=(0, 1),
            ),
            create,
        ),
        "inspect": (
            Command(
                "volume inspect",
                "Display detailed information on one or more volumes",
                "volume inspect [OPTIONS] VOLUME [VOLUME...]",
                (INSPECT,),
                positional=(1, None),
            ),
            show,
        ),
        "ls": (
            Command(
                "volume ls",
                "List volumes",
                "volume ls [OPTIONS]",
                (
                    Flag("cluster", "Only display cluster volumes", hidden=True, refused=NO_SWARM),
                    FILTER,
                    FORMAT,
                    Flag("quiet", "Only display volume names", short="q"),
                ),
                positional=(0, 0),
            ),
            ls,
        ),
        "prune": (
            Command(
                "volume prune",
                "Remove unused local volumes",
                "volume prune [OPTIONS]",
                (
                    Flag("all", "Remove all unused volumes, not just anonymous ones", short="a"),
                    Flag("filter", "Filter the volumes: label=KEY[=VALUE]", "strings", metavar="filter"),
                    FORCE,
                ),
                positional=(0, 0),
            ),
            prune,
        ),
        "rm": (
            Command(
                "volume rm",
                "Remove one or more volumes",
                "volume rm [OPTIONS] VOLUME [VOLUME...]",
                (Flag("force", "Ignore volumes that do not exist", short="f"),),
                positional=(1, None),
            ),
            rm,
        ),
    },
    {"list": "ls", "remove": "rm"},
    {"update": "it changes Swarm's cluster volumes, which do not exist here"},
)
