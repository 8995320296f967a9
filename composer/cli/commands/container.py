"""composer container: all containers, with or without a project, by name or id."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from composer.cli.commands.stats import FLAGS as STATS
from composer.cli.errors import CommandError
from composer.cli.parsing.command_table import group
from composer.cli.parsing.container_flags import CREATE, UPDATE
from composer.cli.parsing.flags import Args, Command, Flag
from composer.cli.project.container_changes import (
    kill,
    operation_fields,
    pause,
    prune,
    rename,
    restart,
    rm,
    start,
    stop,
    unpause,
)
from composer.cli.render.listing import (
    FILTER,
    FORCE,
    FORMAT,
    INSPECT,
    NO_TRUNC,
    QUIET,
    ids_only,
    inspect,
    labels,
    listing,
    short,
)
from composer.load.printable import one_line
from composer.view import container_list, lookup
from composer.view.filters import Filters
from composer.view.units import human_duration, human_size

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from engine.spec.state import ContainerRecord

HEADERS = {
    "Command": "COMMAND", "CreatedAt": "CREATED AT", "ID": "CONTAINER ID", "Image": "IMAGE", "Labels": "LABELS",
    "LocalVolumes": "LOCAL VOLUMES", "Mounts": "MOUNTS", "Names": "NAMES", "Networks": "NETWORKS",
    "Platform": "PLATFORM", "Ports": "PORTS", "RunningFor": "CREATED", "Size": "SIZE", "State": "STATE",
    "Status": "STATUS",
}  # fmt: skip


def ls(context: Context, args: Args) -> int:
    filters = Filters.of_flags(args.filter, container_list.FILTERS)
    last = 1 if args.latest else args.last
    records = container_list.selected(context.engine, filters, everything=args.all or last > 0)
    records = records[:last] if last > 0 else records
    if ids_only(args):
        print("".join(f"{short(record.id, full=args.no_trunc)}\n" for record in records), end="")
        return 0
    sizes = args.size or ".Size" in args.format
    rows = [row(context, record, full=args.no_trunc, sizes=sizes) for record in records]
    columns = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names", *(["Size"] if args.size else []))
    print(listing(args.format, rows, HEADERS, columns), end="")
    return 0


def row(context: Context, record: ContainerRecord, *, full: bool, sizes: bool = False) -> dict[str, object]:
    from composer.cli.render.table import shorten
    from composer.view.api_format import go_time
    from composer.view.containers import command_text, ports_text, publishers, status_text

    spec, image = record.spec, context.engine.image(record.spec.image)
    config = image.config if image else None
    command = command_text(record, config)
    places = [mount.source or mount.target for mount in spec.mounts if mount.type in ("volume", "bind")]
    size = "0B"
    if sizes:
        entry = container_list.listed(context.engine, record, sizes=True)
        size = f"{human_size(entry['SizeRw'])} (virtual {human_size(entry['SizeRootFs'])})"
    image_name = spec.image_ref or spec.image
    return {
        "Command": f'"{command if full else shorten(command, 20)}"',
        "CreatedAt": go_time(record.state.created_at),
        "ID": short(record.id, full=full),
        "Image": image_name if full or not image_name.startswith("sha256:") else short(image_name),
        "Labels": labels({key: value for key, value in spec.labels.items() if key != "composer.summary"}),
        "LocalVolumes": str(sum(mount.type == "volume" for mount in spec.mounts)),
        "Mounts": ",".join(place if full else shorten(place, 15) for place in places),
        "Names": spec.name,
        "Networks": ",".join(one.network for one in spec.networks) or spec.network_mode,
        "Platform": None,
        "Ports": ports_text(publishers(record, config)),
        "RunningFor": f"{human_duration(time.time() - record.state.created_at)} ago",
        "Size": size,
        "State": record.state.status.value,
        "Status": status_text(record),
    }


def show(context: Context, args: Args) -> int:
    from composer.view.inspect import inspected

    def one(name: str) -> dict[str, object]:
        record = lookup.container(context.engine, name)
        image = context.engine.image(record.spec.image)
        value = inspected(context.engine, record, image.config if image else None)
        if args.size:
            entry = container_list.listed(context.engine, record, sizes=True)
            value |= {"SizeRw": entry["SizeRw"], "SizeRootFs": entry["SizeRootFs"]}
        return value

    text, errors = inspect(args.positional, one, args.format)
    print(text, end="")
    print("".join(f"Error: {error}\n" for error in errors), end="", file=sys.stderr)
    return 1 if errors else 0


def logs(context: Context, args: Args) -> int:
    from composer.cli.commands.logs import parse_tail
    from composer.cli.parsing.timestamps import parse_timestamp
    from composer.cli.terminal.container_log import show_log

    return show_log(
        context,
        lookup.container(context.engine, args.positional[0]),
        since=parse_timestamp(args.since) if args.since else 0,
        until=parse_timestamp(args.until) if args.until else 0,
        tail=parse_tail(args.tail),
        follow=args.follow,
        timestamps=args.timestamps,
        details=args.details,
    )


def execute(context: Context, args: Args) -> int:
    import os

    from composer.cli.commands.exec import environment
    from composer.cli.project.oneoff import env_files
    from composer.cli.terminal.process import run_exec
    from engine.spec.container import ExecSpec

    name, *command = args.positional
    record = lookup.container(context.engine, name)
    if not container_list.is_running(record):
        raise CommandError(f"container {record.id} is not running")
    if args.tty and args.interactive and not args.detach and not os.isatty(0):
        raise CommandError("the input device is not a TTY")
    spec = ExecSpec(
        args=tuple(command),
        environment={**env_files(args.env_file, context.environ), **environment(args.env, context.environ)},
        working_dir=args.workdir,
        user=args.user,
        tty=args.tty,
        privileged=args.privileged,
    )
    return run_exec(context, record, spec, detach=args.detach, interactive=args.interactive, keys=args.detach_keys)


def attach(context: Context, args: Args) -> int:
    from composer.cli.commands.attach import attach as attach_to

    record = lookup.container(context.engine, args.positional[0])
    if not container_list.is_running(record):
        raise CommandError("You cannot attach to a stopped container, start it first")
    return attach_to(context, record, stdin=not args.no_stdin, keys=args.detach_keys, sig_proxy=args.sig_proxy)


def wait(context: Context, args: Args) -> int:
    from composer.cli.project.direct_changes import each, perform
    from composer.plan.operations import AwaitEnd

    def one(name: str) -> None:
        record = lookup.container(context.engine, name)
        operation = AwaitEnd(**operation_fields(record), condition="not-running")  # type: ignore[arg-type]
        print(perform(context, record.group, [operation]).exit_code)

    return each(args.positional, one)


def top(context: Context, args: Args) -> int:
    from composer.cli.render.table import table
    from composer.view.processes import COLUMNS, processes

    record = lookup.container(context.engine, args.positional[0])
    if not record.state.status.alive:
        raise CommandError(f"container {record.id} is not running")
    print(table([COLUMNS, *processes(record.state.pid)], minimum=20), end="")
    return 0


def port(context: Context, args: Args) -> int:
    from composer.view.inspect import ports

    record = lookup.container(context.engine, args.positional[0])
    published = {key: bindings for key, bindings in ports(record).items() if bindings}
    if len(args.positional) > 1:
        wanted = args.positional[1] if "/" in args.positional[1] else f"{args.positional[1]}/tcp"
        if wanted not in published:
            raise CommandError(f"no public port '{wanted}' published for {args.positional[0]}")
        published = {wanted: published[wanted]}
    for key, bindings in sorted(published.items()):
        for one in bindings:
            host = f"[{one['HostIp']}]" if ":" in one["HostIp"] else one["HostIp"]
            print(f"{host}:{one['HostPort']}" if len(args.positional) > 1 else f"{key} -> {host}:{one['HostPort']}")
    return 0


def create(context: Context, args: Args) -> int:
    from composer.cli.project.standalone import create as make

    print(make(context, args).id if not context.dry_run else "")
    return 0


def run(context: Context, args: Args) -> int:
    from composer.cli.project.standalone import run as run_one

    return run_one(context, args)


def diff(context: Context, args: Args) -> int:
    record = lookup.container(context.engine, args.positional[0])
    letters = {"modified": "C", "added": "A", "deleted": "D"}
    for path, kind in context.engine.changes(record.group, record.id):
        print(f"{letters[kind]} {one_line(path)}")
    return 0


def stats(context: Context, args: Args) -> int:
    from composer.cli.commands import stats as usage

    def listed() -> list[ContainerRecord]:
        if args.positional:
            return [lookup.container(context.engine, name) for name in args.positional]
        return container_list.selected(context.engine, Filters({}, ()), everything=args.all)

    return usage.show(args, context, listed)


def update(context: Context, args: Args) -> int:
    from composer.cli.project.container_update import update as change

    return change(context, args)


def cp(context: Context, args: Args) -> int:
    from composer.cli.project import container_content

    return container_content.cp(context, args)


def export(context: Context, args: Args) -> int:
    from composer.cli.project import container_content

    return container_content.export(context, args)


def commit(context: Context, args: Args) -> int:
    from composer.cli.project import container_content

    return container_content.commit(context, args)


_TIMEOUT = (
    Flag("signal", "Signal to send to the container", "string", short="s"),
    Flag("timeout", "Seconds to wait before killing the container", "int", short="t", aliases=("time",)),
)
_KEYS = Flag("detach-keys", "Key sequence for detaching (default: ctrl-p,ctrl-q)", "string")
_NO_CHECKPOINTS = "containers are not checkpointed"
_PROXY = Flag("sig-proxy", "Forward received signals to the process", default=True)


def _command(
    name: str, short: str, arguments: str, *flags: Flag, positional: tuple[int, int | None], interspersed: bool = True
) -> Command:
    usage = f"container {name} [OPTIONS]{arguments}" if flags else f"container {name}{arguments}"
    return Command(f"container {name}", short, usage, flags, positional=positional, interspersed=interspersed)


SEVERAL = " CONTAINER [CONTAINER...]"

GROUP = group(
    "container",
    {
        "attach": (
            _command("attach", "Attach to a running container's standard streams", " CONTAINER", _KEYS,
                     Flag("no-stdin", "Do not attach STDIN"), _PROXY, positional=(1, 1)),
            attach,
        ),
        "commit": (
            _command("commit", "Create a new image from a container's changes", " CONTAINER [REPOSITORY[:TAG]]",
                     Flag("author", "Author of the image", "string", short="a"),
                     Flag("change", "Apply a Dockerfile instruction to the image", "strings", short="c"),
                     Flag("message", "Commit message", "string", short="m"),
                     Flag("pause", "Pause the container during the commit", short="p", default=True), positional=(1, 2)),
            commit,
        ),
        "cp": (
            _command("cp", "Copy files and folders between a container and the local file system",
                     " CONTAINER:SRC_PATH DEST_PATH|-, or SRC_PATH|- CONTAINER:DEST_PATH",
                     Flag("archive", "Keep owners and groups; if the container has a user, files belong to that user", short="a"),
                     Flag("follow-link", "Follow a symbolic link at SRC_PATH", short="L"),
                     Flag("quiet", "Suppress the message about what was copied", short="q"), positional=(2, 2)),
            cp,
        ),
        "create": (
            _command("create", "Create a new container", " IMAGE [COMMAND] [ARG...]", *CREATE, positional=(1, None),
                     interspersed=False),
            create,
        ),
        "diff": (
            _command("diff", "Inspect changes to files on a container's file system", " CONTAINER", positional=(1, 1)),
            diff,
        ),
        "exec": (
            _command("exec", "Execute a command in a running container", " CONTAINER COMMAND [ARG...]",
                     Flag("detach", "Run the command in the background", short="d"), _KEYS,
                     Flag("env", "Set variables: NAME=VALUE, or NAME for the caller's value", "strings", short="e"),
                     Flag("env-file", "Read in a file of environment variables", "strings"),
                     Flag("interactive", "Keep STDIN open even if not attached", short="i"),
                     Flag("privileged", "Give extended privileges to the process"),
                     Flag("tty", "Allocate a pseudo-TTY", short="t"),
                     Flag("user", "Run the command as this user", "string", short="u"),
                     Flag("workdir", "Working directory inside the container", "string", short="w"),
                     positional=(2, None), interspersed=False),
            execute,
        ),
        "export": (
            _command("export", "Export a container's file system as a tar archive", " CONTAINER",
                     Flag("output", "Write to a file, instead of STDOUT", "string", short="o"), positional=(1, 1)),
            export,
        ),
        "inspect": (
            _command("inspect", "Display detailed information on one or more containers", SEVERAL, INSPECT,
                     Flag("size", "Display total file sizes", short="s"), positional=(1, None)),
            show,
        ),
        "kill": (
            _command("kill", "Kill one or more running containers", SEVERAL,
                     Flag("signal", "Signal to send", "string", short="s", default="SIGKILL"), positional=(1, None)),
            kill,
        ),
        "logs": (
            _command("logs", "Fetch the logs of a container", " CONTAINER",
                     Flag("details", "Show the labels and variables of the log options"),
                     Flag("follow", "Follow log output", short="f"),
                     Flag("since", "Show logs since a time (2013-01-02T13:23:37Z) or a duration ago (42m)", "string"),
                     Flag("tail", "Number of lines to show from the end of the logs", "string", short="n", default="all"),
                     Flag("timestamps", "Show timestamps", short="t"),
                     Flag("until", "Show logs before a time (2013-01-02T13:23:37Z) or a duration ago (42m)", "string"),
                     positional=(1, 1)),
            logs,
        ),
        "ls": (
            _command("ls", "List containers", "", Flag("all", "Show all containers, not only running ones", short="a"),
                     FILTER, FORMAT, Flag("last", "Show n last created containers", "int", short="n", default=-1),
                     Flag("latest", "Show the latest created container", short="l"), NO_TRUNC, QUIET,
                     Flag("size", "Display total file sizes", short="s"), positional=(0, 0)),
            ls,
        ),
        "pause": (_command("pause", "Pause all processes within containers", SEVERAL, positional=(1, None)), pause),
        "port": (
            _command("port", "List port mappings of a container", " CONTAINER [PRIVATE_PORT[/PROTO]]", positional=(1, 2)),
            port,
        ),
        "prune": (
            _command("prune", "Remove all stopped containers", "",
                     Flag("filter", "Filter the containers: until=TIME, label=KEY", "strings", metavar="filter"), FORCE,
                     positional=(0, 0)),
            prune,
        ),
        "rename": (_command("rename", "Rename a container", " CONTAINER NEW_NAME", positional=(2, 2)), rename),
        "restart": (_command("restart", "Restart one or more containers", SEVERAL, *_TIMEOUT, positional=(1, None)), restart),
        "rm": (
            _command("rm", "Remove one or more containers", SEVERAL,
                     Flag("force", "Also remove running containers", short="f"),
                     Flag("link", "Remove the specified link", short="l", refused="links are fixed when a container is created"),
                     Flag("volumes", "Remove anonymous volumes of the container", short="v"), positional=(1, None)),
            rm,
        ),
        "run": (
            _command("run", "Create and run a new container from an image", " IMAGE [COMMAND] [ARG...]", *CREATE,
                     Flag("detach", "Run in the background and print the container's ID", short="d"), _KEYS, _PROXY,
                     positional=(1, None), interspersed=False),
            run,
        ),
        "start": (
            _command("start", "Start one or more stopped containers", SEVERAL,
                     Flag("attach", "Attach STDOUT/STDERR and forward signals", short="a"),
                     Flag("checkpoint", "Restore from this checkpoint", "string", refused=_NO_CHECKPOINTS),
                     Flag("checkpoint-dir", "Directory of checkpoints", "string", refused=_NO_CHECKPOINTS), _KEYS,
                     Flag("interactive", "Attach the container's STDIN", short="i"), _PROXY, positional=(1, None)),
            start,
        ),
        "stats": (
            _command("stats", "Display a live stream of containers' resource usage statistics", " [CONTAINER...]",
                     *STATS, positional=(0, None)),
            stats,
        ),
        "stop": (_command("stop", "Stop one or more running containers", SEVERAL, *_TIMEOUT, positional=(1, None)), stop),
        "top": (_command("top", "Display the running processes of a container", " CONTAINER", positional=(1, 1)), top),
        "unpause": (_command("unpause", "Unpause containers", SEVERAL, positional=(1, None)), unpause),
        "update": (
            _command("update", "Change limits and restart policy of containers", SEVERAL, *UPDATE, positional=(1, None)),
            update,
        ),
        "wait": (
            _command("wait", "Block until containers stop, then print their exit codes", SEVERAL, positional=(1, None)),
            wait,
        ),
    },
    {"list": "ls", "ps": "ls", "remove": "rm"},
)  # fmt: skip
