"""composer ps: a project's containers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from composer.cli.errors import UsageError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.project.containers import is_up, select
from composer.cli.render.table import MINIMUM, shorten, table
from composer.plan.labels import SUMMARY, service_of
from composer.view.containers import command_text, ports_text, publishers, status_text
from composer.view.units import human_duration
from engine.spec.state import Status

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from engine.spec.image import ImageConfig
    from engine.spec.state import ContainerRecord

STATUSES = ("paused", "restarting", "removing", "running", "dead", "created", "exited")
HEADERS = ("NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS")
ENGINE = "com.docker.compose.engine"
"""The label of containers that another engine than the usual one runs."""
RAW = (
    "container_id: {{.ID}}\\nimage: {{.Image}}\\ncommand: {{.Command}}\\ncreated_at: {{.CreatedAt}}\\nstate: {{.State}}\\n"
    "status: {{.Status}}\\nnames: {{.Names}}\\nlabels: {{.Labels}}\\nports: {{.Ports}}\\n"
)
"""The template behind --format raw."""
NAMES = {
    "ID": "CONTAINER ID", "CreatedAt": "CREATED AT", "ExitCode": "EXIT CODE", "LocalVolumes": "LOCAL VOLUMES",
    "RunningFor": "CREATED",
}  # fmt: skip
FIELDS = (
    "Command", "CreatedAt", "Engine", "ExitCode", "Health", "ID", "Image", "Labels", "LocalVolumes", "Mounts", "Name", "Names",
    "Networks", "Ports", "Project", "Publishers", "RunningFor", "Service", "Size", "State", "Status",
)  # fmt: skip

COMMAND = command(
    "ps",
    "ps [OPTIONS] [SERVICE...]",
    (
        Flag("all", "Show all stopped containers (including those created by the run command)", short="a"),
        Flag("filter", "Filter services by a property (supported filters: status)", "string"),
        Flag("format", "Format output: table (default), table TEMPLATE, json, or a Go TEMPLATE", "string"),
        Flag("no-trunc", "Don't truncate output"),
        Flag("orphans", "Include orphaned services (not declared by project)", default=True),
        Flag("quiet", "Only display IDs", short="q"),
        Flag("services", "Display services"),
        Flag("status", f"Filter services by status. Values: [{' | '.join(STATUSES)}]", "strings"),
    ),
)


def run(context: Context, args: Args) -> int:
    statuses = _statuses(args)
    context.check_shown(args.positional)
    records = select(context.containers(), args.positional, oneoff=args.all)
    if not args.all and not statuses:
        records = [record for record in records if is_up(record)]
    if statuses:
        records = [record for record in records if record.state.status.value in statuses]
    if not args.orphans:
        declared = context.declared_services()
        records = [record for record in records if declared is None or service_of(record) in declared]
    records.sort(key=lambda record: record.spec.name)
    print(_listing(context, args, records), end="")
    return 0


def _statuses(args: Args) -> set[str]:
    statuses = set(args.status)
    if args.filter:
        key, _, value = args.filter.partition("=")
        if key != "status":
            raise UsageError(f"unknown filter {key}; supported: status")
        statuses.add(value)
    for status in statuses:
        if status not in STATUSES:
            raise UsageError(f'invalid status "{status}": one of {", ".join(STATUSES)}')
    return statuses


def _listing(context: Context, args: Args, records: list[ContainerRecord]) -> str:
    if args.quiet:
        return "".join(f"{record.id}\n" for record in records)
    if args.services:
        return "".join(f"{service}\n" for service in dict.fromkeys(map(service_of, records)))
    chosen = args.format or _configured(context)
    configs = {image: context.image_config(image) for image in {record.spec.image for record in records}}
    if chosen in ("", "table"):
        rows = [_row(record, configs[record.spec.image], full=args.no_trunc) for record in records]
        if not any(record.spec.labels.get(ENGINE) for record in records):
            return table([HEADERS, *rows], minimum=MINIMUM)
        engines = [record.spec.labels.get(ENGINE, "") for record in records]
        return table(
            [
                (*HEADERS[:-1], "ENGINE", HEADERS[-1]),
                *((*r[:-1], e, r[-1]) for r, e in zip(rows, engines, strict=True)),
            ],
            minimum=MINIMUM,
        )
    from composer.cli.render.gojson import compact
    from composer.cli.render.row_template import format_rows

    if chosen == "raw":
        chosen = RAW
    views = [_view(record, configs[record.spec.image], full=args.no_trunc) for record in records]
    if chosen == "json":
        return "".join(f"{compact(view)}\n" for view in views)
    labels = [record.spec.labels for record in records]
    return format_rows(chosen, views, FIELDS, NAMES, labels=labels)


def _configured(context: Context) -> str:
    """The psFormat of docker's config.json, "" when there is none."""
    import json

    from engine.paths import docker_client

    try:
        with open(f"{docker_client(context.environ)}/config.json", encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return ""
    return str(found.get("psFormat") or "") if isinstance(found, dict) else ""


def _command(record: ContainerRecord, image: ImageConfig | None, *, full: bool) -> str:
    text = command_text(record, image)
    text = (text if full else shorten(text, 20)).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def _row(record: ContainerRecord, image: ImageConfig | None, *, full: bool) -> tuple[str, ...]:
    return (
        record.spec.name,
        record.spec.image_ref or record.spec.image,
        _command(record, image, full=full),
        service_of(record),
        f"{human_duration(time.time() - record.state.created_at)} ago",
        status_text(record),
        ports_text(publishers(record, image)),
    )


def _mode(network_mode: str) -> str:
    """The network that the mode means; none for another container's."""
    return "" if network_mode.startswith("container:") else network_mode


def _view(record: ContainerRecord, image: ImageConfig | None, *, full: bool) -> dict[str, object]:
    """A container with docker compose's JSON names."""
    name, image_ref, command, service, created, status, ports = _row(record, image, full=full)
    mounts = [m.source or m.target for m in record.spec.mounts if m.type in ("volume", "bind")]
    if not full:
        mounts = [f"{mount[:14]}…" if len(mount) > 15 else mount for mount in mounts]
    return {
        "Command": command,
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(record.state.created_at)),
        "Engine": record.spec.labels.get(ENGINE, ""),
        "ExitCode": record.state.exit_code if record.state.status in (Status.EXITED, Status.DEAD) else 0,
        "Health": record.state.health.status if record.state.health and record.state.status.alive else "",
        "ID": record.id if full else record.id[:12],
        "Image": image_ref,
        "Labels": ",".join(f"{key}={value}" for key, value in record.spec.labels.items() if key != SUMMARY),
        "LocalVolumes": str(sum(m.type == "volume" for m in record.spec.mounts)),
        "Mounts": ",".join(mounts),
        "Name": name,
        "Names": name,
        "Networks": ",".join(a.network for a in record.spec.networks) or _mode(record.spec.network_mode),
        "Ports": ports,
        "Project": record.group,
        "Publishers": [
            {"URL": p.url, "TargetPort": p.target, "PublishedPort": p.published, "Protocol": p.protocol}
            for p in publishers(record, image)
        ],
        "RunningFor": created,
        "Service": service,
        "Size": "0B",
        "State": record.state.status.value,
        "Status": status,
    }
