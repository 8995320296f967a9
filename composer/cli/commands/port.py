"""composer port: where a container's port is published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.errors import CommandError, UsageError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.project.containers import one
from composer.view.containers import publishers

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command(
    "port",
    "port [OPTIONS] SERVICE [PRIVATE_PORT]",
    (
        Flag("index", "Index of the container if service has multiple replicas", "uint", default=0),
        Flag("protocol", "tcp or udp", "string", default="tcp"),
    ),
    positional=(1, 2),
)


def run(context: Context, args: Args) -> int:
    if len(args.positional) == 1:
        for row in publishers(one(context, args.positional[0], args.index), None):
            if row.url:
                print(f"{row.target}/{row.protocol} -> {_address(row.url)}:{row.published}")
        return 0
    service, text = args.positional
    number, slash, protocol = text.partition("/")
    protocol = (protocol if slash else args.protocol).lower()
    if not number.isdecimal() or not 0 < int(number) < 65536:
        raise UsageError(f'invalid port "{text}": a number from 1 to 65535')
    record = one(context, service, args.index)
    # A port of a routed network has an address, and 0 as its port on the host; one that is only exposed has neither.
    rows = [row for row in publishers(record, None) if row.url]
    for row in rows:
        if row.target == int(number) and row.protocol == protocol:
            print(f"{_address(row.url)}:{row.published}")
            return 0
    there = ", ".join(dict.fromkeys(f"{row.target}/{row.protocol}" for row in rows)) or "none"
    raise CommandError(f"no port {number}/{protocol} for container {record.spec.name}; published: {there}")


def _address(text: str) -> str:
    return f"[{text}]" if ":" in text else text
