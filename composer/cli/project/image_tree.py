"""`image ls --tree`: each image with its names, and below it an image for each platform."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from composer.cli.errors import UsageError
from composer.cli.render.listing import short
from composer.load.printable import one_line
from composer.view import images
from composer.view.units import human_size

if TYPE_CHECKING:
    from composer.cli.parsing.flags import Args
    from composer.run.port import Engine
    from engine.spec.image import ImageRecord

_TITLES = ("IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA")
_LEGEND = "Info ->  U In Use"
_GAP = "   "

Row = tuple[str, str, str, str, str]


def check(args: Args) -> None:
    """UsageError for flags that docker refuses with --tree."""
    refused = {"quiet": args.quiet, "no-trunc": args.no_trunc, "show-digest": args.digests, "format": args.format}
    for name, given in refused.items():
        if given:
            raise UsageError(f"--{name} is not yet supported with --tree")


def tree(engine: Engine, found: Iterable[ImageRecord]) -> str:
    """The text. Images for several platforms have the same names."""
    used = images.users(engine)
    groups: dict[object, list[ImageRecord]] = {}
    for image in found:
        groups.setdefault(image.tags or image.id, []).append(image)
    rows: list[Row] = []
    for group in (sorted(group, key=_platform) for group in groups.values()):
        *others, last = [images.familiar(tag) for tag in group[0].tags] or ["<untagged>"]
        rows += [(name, "", "", "", "") for name in others]
        first = group[0]
        size = sum(image.size for image in group)
        rows.append(_row(last, first.id, size, in_use=any(used[image.id] for image in group)))
        if len(group) > 1:
            rows += [
                _row(f"{'└─' if image is group[-1] else '├─'} {_platform(image)}", image.id, image.size,
                     in_use=bool(used[image.id]))
                for image in group
            ]  # fmt: skip
    return _table(rows)


def _platform(image: ImageRecord) -> str:
    return f"{image.os}/{image.architecture}" + (f"/{image.variant}" if image.variant else "")


def _row(name: str, image: str, size: int, *, in_use: bool) -> Row:
    # Only containerd's image store keeps the compressed content, so Docker's own shows 0B, too.
    return (one_line(name), short(image), human_size(size), "0B", "U" if in_use else "")


def _table(rows: list[Row]) -> str:
    widths = [max(len(row[at]) for row in (_TITLES, *rows)) for at in range(len(_TITLES))]
    lines = [_GAP.join(f"{title:{width}}" for title, width in zip(_TITLES, widths, strict=True))]
    for row in rows:
        cells = [f"{cell:>{width}}" if 2 <= at <= 3 else f"{cell:{width}}"
                 for at, (cell, width) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        lines.append(_GAP.join(cells))
    total = sum(widths) + len(_GAP) * (len(widths) - 1)
    return "\n".join(line.rstrip() for line in (f"{_LEGEND:>{total}}", "", *lines)) + "\n"
