"""composer serve: Docker's Engine API on a UNIX socket."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command(
    "serve",
    "serve [OPTIONS]",
    (
        Flag(
            "socket", "Path of the socket (default: docker.sock in the run root)", "string", short="s", metavar="path"
        ),
        Flag("read-only", "Allow only requests that change nothing: no exec, attach, or files of containers"),
        Flag("project", "Show and change the objects of this project only", "string", metavar="name"),
        Flag("group", "Group whose members may also use the socket", "string", metavar="group"),
    ),
    positional=(0, 0),
)

_FIRST_PASSED = 3
"""The first descriptor of socket activation (sd_listen_fds(3))."""


def run(context: Context, args: Args) -> int:
    import anyio

    from composer.serve.access import Access
    from composer.serve.server import Server

    group = _group(args.group)
    path = args.socket or f"{context.roots.run}/docker.sock"
    passed = _passed()
    listener = passed or _bind(path, group)
    access = Access(read_only=args.read_only, project=args.project)
    server = Server(context.roots, context.environ, context.new_engine, group=group, access=access)

    def ready() -> None:
        print(f"serving on unix://{path}", file=context.stderr, flush=True)

    try:
        anyio.run(server.run, listener, ready)
    finally:
        server.close()
        if passed is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        listener.close()
    return 0


def _group(name: str) -> int | None:
    if not name:
        return None
    import grp

    try:
        return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise CommandError(f"serve --group: there is no group {name!r} on this machine") from None


def _passed() -> socket.socket | None:
    """The listening socket passed by systemd, if any; earlier requests wait in it."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or int(os.environ.get("LISTEN_FDS") or 0) < 1:
        return None
    return socket.socket(fileno=_FIRST_PASSED)


def _make_folder(path: str, group: int | None) -> None:
    """Create a directory and its missing parents, for the owner only or also for the group."""
    if os.path.isdir(path):
        return
    _make_folder(os.path.dirname(path), group)
    os.mkdir(path, 0o700)
    if group is not None:
        os.chown(path, -1, group)
        os.chmod(path, 0o750)


def _closed_to(group: int, folder: str) -> str:
    """The first directory on the way to `folder` that members of the group cannot enter; "" if there is none."""
    parts = folder.split("/")
    for number in range(1, len(parts) + 1):
        path = "/".join(parts[:number]) or "/"
        status = os.stat(path)
        if not status.st_mode & (stat.S_IXGRP if status.st_gid == group else stat.S_IXOTH):
            return path
    return ""


def _bind(path: str, group: int | None) -> socket.socket:
    """Listen on `path`, for the owner only or also for the group. Raises CommandError when a server already listens
    there."""
    folder = os.path.dirname(os.path.abspath(path))
    _make_folder(folder, group)
    if group is not None and (closed := _closed_to(group, folder)):
        raise CommandError(
            f"serve --group: the group cannot reach {path}, because {closed} does not admit it\n"
            "Name a socket elsewhere, for example --socket /run/composer.sock."
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
            try:
                listener.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
            else:
                raise CommandError(f"serve: another process already serves on {path}")
            listener.close()
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        if group is not None:
            os.chown(path, -1, group)
            os.chmod(path, 0o660)
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise CommandError(f"serve: cannot listen on {path}: {error.strerror}") from None
    except CommandError:
        listener.close()
        raise
    return listener
