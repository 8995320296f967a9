"""composer builder history: the records of past builds, as `docker buildx history` shows them."""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from composer.cli.errors import CommandError, UsageError
from composer.cli.parsing.flags import Args, Command, Flag, Group
from composer.cli.render.listing import listing
from composer.load.printable import one_line
from composer.view.units import human_duration
from engine import rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from composer.cli.project.context import Context
    from engine.spec.build_record import BuildRecord

HEADERS = {
    "ref": "BUILD ID", "name": "NAME", "status": "STATUS", "created_at": "CREATED AT", "duration": "DURATION",
}  # fmt: skip


def name_of(record: BuildRecord) -> str:
    """The context's last component, with the Dockerfile if it has another name, or the target."""
    context = record.context.rstrip("/")
    name = os.path.basename(context) or context
    if record.dockerfile not in ("", "Dockerfile"):
        name = f"{name}/{os.path.basename(record.dockerfile)}" if name else os.path.basename(record.dockerfile)
    if record.target:
        name = f"{name} ({record.target})" if name else record.target
    return name or next(iter(record.tags), record.ref)


def status_of(record: BuildRecord) -> str:
    if not record.error:
        return "Completed"
    return "Canceled" if record.error.startswith("canceled") else "Error"


def ls(context: Context, args: Args) -> int:
    wanted = _filters(args.filter)
    rows = []
    for record in context.engine.build_records():
        row = {
            "ref": record.ref,
            "name": one_line(name_of(record)),
            "status": status_of(record),
            "created_at": f"{human_duration(time.time() - record.started)} ago",
            "duration": f"{record.ended - record.started:.1f}s",
        }
        if all(_fits(record, row, key, values) for key, values in wanted.items()):
            if not args.no_trunc and args.format in ("", "table") and len(row["name"]) > 50:
                row["name"] = row["name"][:47] + "..."
            rows.append(_as_json(record) if args.format == "json" else row)
    print(listing(args.format, rows, HEADERS, tuple(HEADERS)), end="")
    return 0


def _as_json(record: BuildRecord) -> dict[str, Any]:
    return {
        "cached_steps": record.cached,
        "completed_at": rfc3339.nine_digits(round(record.ended * 1e9)),
        "completed_steps": record.completed,
        "created_at": rfc3339.nine_digits(round(record.started * 1e9)),
        "name": name_of(record),
        "ref": f"default/default/{record.ref}",
        "status": status_of(record),
        "total_steps": record.steps,
    }


def _filters(texts: Sequence[str]) -> dict[str, list[str]]:
    """UsageError for one that does not exist."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key not in ("ref", "status", "name"):
            raise UsageError(f"unsupported filter {text!r}: expected ref=REF, name=NAME or status=STATUS")
        found.setdefault(key, []).append(value)
    return found


def _fits(record: BuildRecord, row: Mapping[str, str], key: str, values: Sequence[str]) -> bool:
    if key == "ref":
        return any(record.ref.startswith(value) for value in values)
    return row[key].lower() in [value.lower() for value in values]


def _find(context: Context, ref: str) -> BuildRecord:
    """The record of a reference (also DRIVER/NODE/REF), of its unambiguous beginning, of `^N` (the Nth before the last),
    or without one the last. CommandError."""
    records = context.engine.build_records()
    wanted = ref.rpartition("/")[2]
    if re.fullmatch(r"(\^[0-9]*)?", wanted):
        number = int(wanted[1:] or 0)
        if number < len(records):
            return records[number]
        raise CommandError("no records found" if not records else f'no record found for ref "{ref}"')
    found = [record for record in records if record.ref == wanted] or [
        record for record in records if record.ref.startswith(wanted)
    ]
    if len(found) == 1:
        return found[0]
    how = "several records found" if found else "no record found"
    raise CommandError(f'{how} for ref "{ref}"')


def inspect(context: Context, args: Args) -> int:
    record = _find(context, next(iter(args.positional), ""))
    if args.format == "json":
        print(json.dumps(_details(record), indent=2, ensure_ascii=False))
    elif args.format in ("", "pretty"):
        print("\n".join(_described(record)))
    else:
        print(listing(args.format, [_details(record)], {}, ()), end="")
    return 0


def _details(record: BuildRecord) -> dict[str, Any]:
    failed = bool(record.error)
    found: dict[str, Any] = {
        "Name": name_of(record),
        "Ref": record.ref,
        "Context": record.context,
        "Dockerfile": record.dockerfile,
        "Target": record.target,
        "Platform": list(record.platforms),
        "StartedAt": rfc3339.nine_digits(round(record.started * 1e9)),
        "CompletedAt": rfc3339.nine_digits(round(record.ended * 1e9)),
        "Duration": round((record.ended - record.started) * 1e9),
        "Status": status_of(record).lower(),
        "Error": {"Message": record.error} if failed else None,
        "NumCompletedSteps": record.completed,
        "NumTotalSteps": record.steps,
        "NumCachedSteps": record.cached,
        "BuildArgs": [{"Name": name, "Value": value or ""} for name, value in sorted(record.args.items())],
        "Labels": [{"Name": name, "Value": value} for name, value in sorted(record.labels.items())],
        "Config": {"NoCache": True} if record.no_cache else {},
        "Materials": [{"URI": uri, "Digests": digests} for uri, digests in _materials(record).items()],
        "Tags": list(record.tags),
        "Image": record.image,
    }
    return {key: value for key, value in found.items() if value not in ("", None, [])}


def _materials(record: BuildRecord) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for raw in record.provenance.values():
        for one in json.loads(bytes(raw)).get("materials", ()):
            found[one["uri"]] = [f"{kind}:{digest}" for kind, digest in one.get("digest", {}).items()]
    return found


def _described(record: BuildRecord) -> list[str]:
    rows = [
        ("Name", name_of(record)), ("Ref", record.ref), ("Context", record.context), ("Dockerfile", record.dockerfile),
        ("Target", record.target), ("Platform", ", ".join(record.platforms)), ("Tags", ", ".join(record.tags)),
    ]  # fmt: skip
    lines = [f"{title}:\t{one_line(value)}" for title, value in rows if value]
    seconds = record.ended - record.started
    lines += ["", f"Started:\t{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(record.started))}"]
    lines += [f"Duration:\t{seconds:.1f}s"]
    if record.error:
        lines += [f"Status:\t{status_of(record)}", f"Error:\t{record.error}"]
    share = round(100 * record.cached / record.steps) if record.steps else 0
    lines += [f"Build Steps:\t{record.completed}/{record.steps} ({share}% cached)"]
    for title, pairs in (("BUILD ARG", record.args), ("LABEL", record.labels)):
        if pairs:
            lines += ["", f"{title}\tVALUE", *(f"{name}\t{one_line(value or '')}" for name, value in pairs.items())]
    materials = _materials(record)
    if materials:
        lines += ["", "Materials:", "URI\tDIGEST", *(f"{uri}\t{', '.join(all_)}" for uri, all_ in materials.items())]
    if record.image:
        lines += ["", f"Image:\t{record.image}"]
    return _aligned([*lines, "", f"Print build logs: composer builder history logs {record.ref}"])


def _aligned(lines: Sequence[str]) -> list[str]:
    """Lines of two columns, aligned in each block between empty lines."""
    found: list[str] = []
    for _, block in itertools.groupby(lines, bool):
        cells = [line.partition("\t") for line in block]
        width = max(len(head) for head, _, _ in cells) + 2
        found += [f"{head:{width}}{rest}" if tab else head for head, tab, rest in cells]
    return found


def logs(context: Context, args: Args) -> int:
    record = _find(context, next(iter(args.positional), ""))
    last: object = None
    for event in context.engine.build_events(record.ref):
        if last is not None and event["step"] != last:
            print()
        last = event["step"]
        print(one_line(str(event.get("line", ""))))
    if record.error:
        print(f"ERROR: {record.error}")
    return 0


def rm(context: Context, args: Args) -> int:
    if bool(args.positional) == args.all:
        raise UsageError("rm requires either --all or at least one ref")
    engine = context.engine
    for record in engine.build_records() if args.all else [_find(context, ref) for ref in args.positional]:
        engine.forget_build(record.ref)
        print(record.ref)
    return 0


def _format(default: str) -> Flag:
    return Flag("format", f'Format the output (default "{default}"): json, or a Go template', "string")


HISTORY = Group(
    "builder history",
    "Work on the records of past builds",
    {
        "inspect": (
            Command(
                "builder history inspect",
                "Inspect a build record",
                "builder history inspect [OPTIONS] [REF]",
                (_format("pretty"),),
                positional=(0, 1),
            ),
            inspect,
        ),
        "logs": (
            Command(
                "builder history logs",
                "Print the logs of a build record",
                "builder history logs [OPTIONS] [REF]",
                (),
                positional=(0, 1),
            ),
            logs,
        ),
        "ls": (
            Command(
                "builder history ls",
                "List build records",
                "builder history ls [OPTIONS]",
                (
                    Flag("filter", "Filter the records: status=error, name=NAME, ref=REF", "strings", metavar="filter"),
                    _format("table"),
                    Flag("no-trunc", "Don't truncate output"),
                ),
                positional=(0, 0),
            ),
            ls,
        ),
        "rm": (
            Command(
                "builder history rm",
                "Remove build records",
                "builder history rm [OPTIONS] [REF...]",
                (Flag("all", "Remove all build records"),),
                positional=(0, None),
            ),
            rm,
        ),
    },
    refused={
        **dict.fromkeys(("export", "import", "open"), "composer does not work with Docker Desktop"),
        "trace": "builds keep no traces; see builder history logs",
    },
)
