"""composer images: the images of a project's containers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from composer.cli.parsing.command_table import command
from composer.cli.parsing.flag_values import output_format
from composer.cli.parsing.flags import Args, Flag
from composer.cli.project.containers import select
from composer.cli.render.table import table
from composer.view.images import familiar
from composer.view.units import human_duration, human_size
from engine import rfc3339

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from engine.spec.image import ImageRecord
    from engine.spec.state import ContainerRecord

HEADERS = ("CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED")

COMMAND = command(
    "images",
    "images [OPTIONS] [SERVICE...]",
    (
        Flag("format", "Format the output. Values: [table | json]", "string", default="table"),
        Flag("quiet", "Only display IDs", short="q"),
    ),
)


def run(context: Context, args: Args) -> int:
    output_format(args.format, "table", "json")
    context.check_shown(args.positional)
    records = sorted(select(context.containers(), args.positional, oneoff=True), key=lambda r: r.spec.name)
    if args.quiet:
        print("".join(f"{image.split(':')[-1]}\n" for image in dict.fromkeys(r.spec.image for r in records)), end="")
        return 0
    pairs = [(record, context.engine.image(record.spec.image)) for record in records]
    if args.format == "json":
        from composer.cli.render.gojson import compact

        print(compact([_view(*pair) for pair in pairs]), end="\n\n")  # as docker compose, with an empty line
    else:
        print(table([HEADERS, *(_row(*pair) for pair in pairs)], minimum=20), end="")
    return 0


def _name(record: ContainerRecord, image: ImageRecord | None) -> tuple[str, str]:
    """Repository and tag: the ones requested for the container, if the image still has them."""
    reference = familiar(record.spec.image_ref)
    if image is not None and image.tags:
        tags = [familiar(tag) for tag in image.tags]
        if reference not in tags:
            reference = f"{reference}:latest" if f"{reference}:latest" in tags else tags[0]
    repository, colon, tag = reference.partition("@")[0].rpartition(":")
    if not colon or "/" in tag:
        return reference or "<none>", "latest" if reference else "<none>"
    return repository, tag


def _platform(image: ImageRecord | None) -> str:
    return "/".join(filter(None, (image.os, image.architecture, image.variant))) if image else ""


def _row(record: ContainerRecord, image: ImageRecord | None) -> tuple[str, ...]:
    repository, tag = _name(record, image)
    return (
        record.spec.name,
        repository,
        tag,
        _platform(image),
        record.spec.image.split(":")[-1][:12],
        human_size(image.size) if image else "",
        f"{human_duration(time.time() - image.created_at)} ago" if image and image.created_at else "N/A",
    )


def _view(record: ContainerRecord, image: ImageRecord | None) -> dict[str, object]:
    repository, tag = _name(record, image)
    return {
        "ID": record.spec.image,
        "ContainerName": record.spec.name,
        "Repository": repository,
        "Tag": tag,
        "Platform": _platform(image),
        "Size": image.size if image else 0,
        **({"Created": rfc3339.shortest(round(image.created_at * 1e6) * 1000)} if image and image.created_at else {}),
        "LastTagTime": rfc3339.shortest(round(image.tagged_at * 1e6) * 1000) if image and image.tagged_at else "",
    }
