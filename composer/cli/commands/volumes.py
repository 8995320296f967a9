"""composer volumes: the volumes of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.project.containers import select
from composer.cli.render.table import MINIMUM, table
from composer.plan.labels import PROJECT

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from engine.spec.network import VolumeRecord

FIELDS = ("Availability", "Driver", "Group", "Labels", "Links", "Mountpoint", "Name", "Scope", "Size", "Status")

COMMAND = command(
    "volumes",
    "volumes [OPTIONS] [SERVICE...]",
    (
        Flag("format", "Format output: table, table TEMPLATE, json, or a Go TEMPLATE", "string", default="table"),
        Flag("quiet", "Only display volume names", short="q"),
    ),
)


def run(context: Context, args: Args) -> int:
    context.check_services(args.positional, among_containers=True)
    project = context.project_name  # the project must exist, even if it has no volumes
    volumes = [v for v in context.engine.volumes() if v.spec.labels.get(PROJECT) == project]
    if args.positional:
        records = select(context.containers(), args.positional)
        used = {mount.source for record in records for mount in record.spec.mounts if mount.type == "volume"}
        volumes = [volume for volume in volumes if volume.spec.name in used]
    volumes.sort(key=lambda volume: volume.spec.name)
    if args.quiet:
        print("".join(f"{volume.spec.name}\n" for volume in volumes), end="")
    elif args.format in ("", "table"):
        rows = [("DRIVER", "VOLUME NAME"), *((v.spec.driver, v.spec.name) for v in volumes)]
        print(table(rows, minimum=MINIMUM), end="")
    else:
        from composer.cli.render.gojson import compact
        from composer.cli.render.row_template import format_rows

        views = [_view(volume) for volume in volumes]
        if args.format == "json":
            print("".join(f"{compact(view)}\n" for view in views), end="")
        else:
            labels = [volume.spec.labels for volume in volumes]
            print(format_rows(args.format, views, FIELDS, {"Name": "VOLUME NAME"}, labels=labels), end="")
    return 0


def _view(volume: VolumeRecord) -> dict[str, object]:
    return {
        "Availability": "N/A",
        "Driver": volume.spec.driver,
        "Group": "N/A",
        "Labels": ",".join(f"{key}={value}" for key, value in volume.spec.labels.items()),
        "Links": "N/A",
        "Mountpoint": volume.mountpoint,
        "Name": volume.spec.name,
        "Scope": "local",
        "Size": "N/A",
        "Status": "N/A",
    }
