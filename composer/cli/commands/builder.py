"""composer builder: the build cache."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from composer.cli.parsing.build_flags import BUILD, BUILDER, DEBUG
from composer.cli.parsing.command_table import group
from composer.cli.parsing.flag_values import byte_size
from composer.cli.parsing.flags import Args, Command, Flag
from composer.cli.project.build_history import HISTORY
from composer.cli.render.listing import FORCE, FORMAT, listing
from composer.load.printable import one_line
from composer.view.build_cache import FILTERS, chosen, over, to_keep
from composer.view.filters import Filters
from composer.view.units import human_duration, human_size

if TYPE_CHECKING:
    from composer.cli.project.context import Context

HEADERS = {
    "CreatedSince": "CREATED", "Description": "DESCRIPTION", "ID": "ID", "LastUsedSince": "LAST ACCESSED",
    "Reclaimable": "RECLAIMABLE", "Shared": "SHARED", "Size": "SIZE",
}  # fmt: skip


def du(context: Context, args: Args) -> int:
    entries = chosen(context.engine.store_usage().cache, Filters.of_flags(args.filter, FILTERS))
    now = time.time()
    rows = [
        {
            "CreatedSince": f"{human_duration(now - entry.created_at)} ago",
            "Description": entry.step,
            "ID": entry.key[:25],
            "LastUsedSince": f"{human_duration(now - entry.used_at)} ago",
            "Reclaimable": str(not entry.in_use).lower(),
            "Shared": str(entry.shared).lower(),
            "Size": human_size(entry.size, 4),
        }
        for entry in entries
    ]
    columns = ("ID", "Reclaimable", "Size", "LastUsedSince", *(["Description"] if args.verbose else []))
    print(listing(args.format, rows, HEADERS, columns), end="")
    if args.format in ("", "table"):
        shared = sum(entry.size for entry in entries if entry.shared)
        total = sum(entry.size for entry in entries)
        print(f"Shared:\t\t{human_size(shared, 4)}\nPrivate:\t{human_size(total - shared, 4)}")
        print(f"Reclaimable:\t{human_size(total, 4)}\nTotal:\t\t{human_size(total, 4)}")
    return 0


def prune(context: Context, args: Args) -> int:
    from composer.cli.project.direct_changes import agreed

    entries = chosen(context.engine.store_usage().cache, Filters.of_flags(args.filter, FILTERS))
    if not args.all:
        entries = [entry for entry in entries if not entry.in_use]
    limits = (
        byte_size("--max-used-space", args.max_used_space),
        byte_size("--reserved-space", args.reserved_space),
        byte_size("--min-free-space", args.min_free_space),
    )
    keep = to_keep(entries, *limits, shutil.disk_usage(context.roots.state).free)
    if keep is not None:
        entries = over(entries, keep)
    keys = [entry.key for entry in entries]
    size = human_size(context.engine.prune_images((), keys, preview=True).size, 4)
    which = "all build cache" if args.all else "all dangling build cache"
    lines = [f"{len(keys)} steps of builds, {size}"]
    if not agreed(context, f"This will remove {which}.", lines, force=args.force):
        return 0
    freed = context.engine.prune_images((), keys)
    steps = {entry.key: f" {one_line(entry.step)}" if args.verbose else "" for entry in entries}
    print("".join(f"{key[:25]}{steps[key]}\n" for key in freed.cache), end="")
    print(f"Total:\t{human_size(freed.size, 4)}")
    return 0


_FILTER = Flag("filter", "Filter the records: until=24h, description=TEXT, id=…", "strings", metavar="filter")


def build(context: Context, args: Args) -> int:
    from composer.cli.project.image_build import build as build_one

    return build_one(context, args)


GROUP = group(
    "builder",
    {
        "build": (
            Command(
                "builder build",
                "Build an image from a Dockerfile",
                "builder build [OPTIONS] PATH|URL|-",
                BUILD,
                positional=(1, 1),
            ),
            build,
        ),
        "du": (
            Command(
                "builder du",
                "Disk usage of the build cache",
                "builder du [OPTIONS]",
                (BUILDER, DEBUG, _FILTER, FORMAT, Flag("verbose", "Show details of each step")),
                positional=(0, 0),
            ),
            du,
        ),
        "history": HISTORY,
        "prune": (
            Command(
                "builder prune",
                "Remove build cache",
                "builder prune [OPTIONS]",
                (
                    Flag("all", "Remove all unused build cache, not just dangling ones", short="a"),
                    BUILDER,
                    DEBUG,
                    _FILTER,
                    FORCE,
                    Flag(
                        "keep-storage",
                        "The same as --reserved-space",
                        "string",
                        hidden=True,
                        attribute="reserved_space",
                    ),
                    Flag(
                        "max-used-space",
                        "Maximum size of the cache; the least recently used entries go first",
                        "string",
                    ),
                    Flag(
                        "min-free-space",
                        "Free space to reach on the file system, as far as removing cache can",
                        "string",
                    ),
                    Flag("reserved-space", "Amount of cache to keep in any case", "string"),
                    Flag("verbose", "Also show the instruction of each step"),
                ),
                positional=(0, 0),
            ),
            prune,
        ),
    },
    refused={
        "bake": "describe the builds in a compose file, under `build`",
        "dap": "builds have no debugger",
        "dial-stdio": "there is no BuildKit to connect to; `composer serve` serves its API",
        "imagetools": "use image inspect, tag and push; image build --platform creates an index",
        **dict.fromkeys(("create", "inspect", "ls", "rm", "stop", "use"), "composer has a single built-in builder"),
    },
    flags=(BUILDER, DEBUG),
)
