"""composer system: information about the engine, its disk usage, and pruning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from composer.cli.errors import UsageError
from composer.cli.parsing.command_table import group
from composer.cli.parsing.flags import Args, Command, Flag
from composer.cli.render.listing import FILTER, FORCE, FORMAT, INSPECT, listing
from composer.view.filters import Filters
from composer.view.units import bytes_size, human_size

if TYPE_CHECKING:
    from composer.cli.project.context import Context

HEADERS = {"Active": "ACTIVE", "Reclaimable": "RECLAIMABLE", "Size": "SIZE", "TotalCount": "TOTAL", "Type": "TYPE"}


def df(context: Context, args: Args) -> int:
    from composer.view.usage import usage

    taken = usage(context.engine)
    if args.verbose:
        if args.format:
            raise UsageError("the format option is not supported with --verbose")
        from composer.cli.render.disk_usage import details

        print(details(taken), end="")
        return 0
    rows = [
        _row("Images", taken["Images"], _images_size(taken), lambda one: one["Containers"] > 0),
        _row("Containers", taken["Containers"], _sizes(taken["Containers"]), lambda one: one["State"] == "running"),
        _row("Local Volumes", taken["Volumes"], _volume_sizes(taken), lambda one: one["UsageData"]["RefCount"] > 0),
        _row("Build Cache", taken["BuildCache"], _cache_sizes(taken), lambda one: one["InUse"]),
    ]
    print(listing(args.format, rows, HEADERS, ("Type", "TotalCount", "Active", "Size", "Reclaimable")), end="")
    return 0


def _row(kind: str, entries: list[dict[str, Any]], sizes: tuple[int, int], active: Any) -> dict[str, str]:
    """`sizes`: total and reclaimable bytes."""
    size, free = sizes
    share = f" ({free * 100 // size}%)" if size and kind != "Build Cache" else ""
    return {
        "Active": str(sum(map(active, entries))),
        "Reclaimable": f"{human_size(free, 4)}{share}",
        "Size": human_size(size, 4),
        "TotalCount": str(len(entries)),
        "Type": kind,
    }


def _images_size(taken: dict[str, Any]) -> tuple[int, int]:
    """Shared layers count once; layers are reclaimable if no image in use has them."""
    used = sum(one["Size"] - one["SharedSize"] for one in taken["Images"] if one["Containers"])
    return taken["LayersSize"], max(taken["LayersSize"] - used, 0)


def _sizes(containers: list[dict[str, Any]]) -> tuple[int, int]:
    stopped = [one for one in containers if one["State"] in ("created", "exited", "dead")]
    return sum(one["SizeRw"] for one in containers), sum(one["SizeRw"] for one in stopped)


def _volume_sizes(taken: dict[str, Any]) -> tuple[int, int]:
    data = [one["UsageData"] for one in taken["Volumes"]]
    return sum(one["Size"] for one in data), sum(one["Size"] for one in data if not one["RefCount"])


def _cache_sizes(taken: dict[str, Any]) -> tuple[int, int]:
    total = sum(one["Size"] for one in taken["BuildCache"])
    return total, total


def info(context: Context, args: Args) -> int:
    from composer.release import VERSION
    from composer.view.usage import facts

    found = facts(context.engine, VERSION)
    found |= {"StateRoot": context.roots.state, "RunRoot": context.roots.run}
    if args.format:
        from composer.cli.render.gojson import compact
        from composer.cli.render.gotemplate import Template

        print(compact(found) if args.format == "json" else Template(args.format).render(found))
        return 0
    lines = (
        f"Containers: {found['Containers']}",
        f" Running: {found['ContainersRunning']}",
        f" Paused: {found['ContainersPaused']}",
        f" Stopped: {found['ContainersStopped']}",
        f"Images: {found['Images']}",
        f"Version: {found['ServerVersion']}",
        f"Storage Driver: {found['Driver']}",
        f"Kernel Version: {found['KernelVersion']}",
        f"OSType: {found['OSType']}",
        f"Architecture: {found['Architecture']}",
        f"CPUs: {found['NCPU']}",
        f"Total Memory: {bytes_size(found['MemTotal'])}",
        f"Name: {found['Name']}",
        f"State Root: {found['StateRoot']}",
        f"Run Root: {found['RunRoot']}",
    )
    print("\n".join(lines))
    return 0


def events(context: Context, args: Args) -> int:
    from composer.cli.parsing.timestamps import SECOND, parse_timestamp
    from composer.cli.terminal.system_events import show

    since = parse_timestamp(args.since) / SECOND if args.since else None
    until = parse_timestamp(args.until) / SECOND if args.until else None
    show(context, args.filter, args.format, since, until)
    return 0


def prune(context: Context, args: Args) -> int:
    """As docker: prune containers, networks, with --volumes anonymous volumes, images, build cache."""
    from composer.cli.commands import image, network, volume
    from composer.cli.project import container_changes
    from composer.cli.project.direct_changes import agreed
    from composer.view import container_list, images, networks, volumes

    engine = context.engine
    filters = Filters.of_flags(args.filter, ("label", "label!", "until"))
    if args.volumes and "until" in filters:
        raise UsageError('the "until" filter is not supported with "--volumes"')
    stopped = container_list.stopped(engine, filters)
    lines = [f"container {record.spec.name}" for record in stopped]
    lines.append(
        "networks and images that nothing else uses" if args.all else "networks and untagged images that nothing uses"
    )
    lines += ["anonymous volumes that nothing else uses"] if args.volumes else []
    lines.append("all build cache" if args.all else "build cache that no image has")
    if not agreed(context, "This will remove:", lines, force=args.force):
        return 0
    freed = container_changes.remove_unused(context, stopped)
    network.remove_unused(context, networks.unused(engine, filters))
    if args.volumes:
        freed += volume.remove_unused(context, volumes.unused(engine, filters, everything=False))
    freed += image.remove_unused(context, images.unused(engine, filters, everything=args.all))
    if not args.filter:
        keys = [entry.key for entry in engine.store_usage().cache if args.all or not entry.in_use]
        freed += engine.prune_images((), keys).size
    print(f"Total reclaimed space: {human_size(freed, 4)}")
    return 0


GROUP = group(
    "system",
    {
        "df": (
            Command(
                "system df",
                "Show disk usage",
                "system df [OPTIONS]",
                (FORMAT, Flag("verbose", "Show detailed information on space usage", short="v")),
                positional=(0, 0),
            ),
            df,
        ),
        "events": (
            Command(
                "system events",
                "Get real time events of all projects",
                "system events [OPTIONS]",
                (
                    FILTER,
                    Flag("format", "Format output: json, or a Go TEMPLATE", "string"),
                    Flag(
                        "since",
                        "Also show earlier events, since a time (2013-01-02T13:23:37Z) or a duration ago (42m)",
                        "string",
                    ),
                    Flag("until", "Stream events until this time", "string"),
                ),
                positional=(0, 0),
            ),
            events,
        ),
        "info": (
            Command(
                "system info", "Display system-wide information", "system info [OPTIONS]", (INSPECT,), positional=(0, 0)
            ),
            info,
        ),
        "prune": (
            Command(
                "system prune",
                "Remove unused data",
                "system prune [OPTIONS]",
                (
                    Flag("all", "Remove all unused images not just dangling ones", short="a"),
                    Flag("filter", "Filter: label=KEY[=VALUE], until=TIME", "strings", metavar="filter"),
                    FORCE,
                    Flag("volumes", "Prune anonymous volumes"),
                ),
                positional=(0, 0),
            ),
            prune,
        ),
    },
)
