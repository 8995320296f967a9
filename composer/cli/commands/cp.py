"""composer cp: copy between a service's containers and the local file system, as tar archives.

As with docker cp, a source directory is copied into an existing destination directory, and otherwise becomes it;
`SRC/.` copies its content; `-` is a tar archive on stdin or stdout.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError, UsageError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.project.containers import check_process, select
from composer.cli.render.progress import State

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.cli.render.progress import Progress
    from engine.spec.state import ContainerRecord

COMMAND = command(
    "cp",
    "cp [OPTIONS] SERVICE:SRC_PATH DEST_PATH|-\n\tcomposer cp [OPTIONS] SRC_PATH|- SERVICE:DEST_PATH",
    (
        Flag("all", "Copy to all containers of the service, including those of the run command"),
        Flag("archive", "Keep owners and groups; if the container has a user, files belong to that user", short="a"),
        Flag("follow-link", "Follow a symbolic link at SRC_PATH", short="L"),
        Flag("index", "Index of the container if the service has several", "uint", default=0),
    ),
    positional=(2, 2),
)


def split(text: str) -> tuple[str, str]:
    """SERVICE and path; the service is "" for a local path (anything that begins with / or . or has no colon)."""
    service, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")) or "/" in service:
        return "", text
    return service, path


def run(context: Context, args: Args) -> int:
    (from_service, source), (to_service, target) = map(split, args.positional)
    if from_service and to_service:
        raise UsageError("copying between services is not supported")
    if not from_service and not to_service:
        raise UsageError("unknown copy direction: one of the two must be SERVICE:PATH")
    service = from_service or to_service
    if not (source if from_service else target):
        raise UsageError(f"no such directory: {service}: needs a path")
    context.check_services([service], among_containers=True)
    records = select(context.containers(), [service], oneoff=args.all, index=args.index)
    if not records:
        raise CommandError(
            f'no container found for service "{service}"' + (f" at index {args.index}" if args.index else "")
        )
    check_process(records[0], "cp")
    if from_service:
        with context.progress("copy") as progress, _shown(progress, records[0], source, target, out=True):
            copy_from(context, records[0], source, target, follow=args.follow_link, archive=args.archive)
    else:
        _to_all(context, records, source, target, args)
    return 0


def _to_all(context: Context, records: list[ContainerRecord], source: str, target: str, args: Args) -> None:
    """To every container of the service; an archive on stdin is read once."""
    import shutil
    import tempfile

    with tempfile.TemporaryFile() as kept, context.progress("copy") as progress:
        if source == "-" and len(records) > 1:
            shutil.copyfileobj(sys.stdin.buffer, kept)
        for record in records:
            kept.seek(0)
            archive = kept.fileno() if source == "-" and len(records) > 1 else 0
            with _shown(progress, record, source, target):
                copy_to(context, record, source, target, args, archive=archive)


@contextlib.contextmanager
def _shown(
    progress: Progress, record: ContainerRecord, source: str, target: str, *, out: bool = False
) -> Iterator[None]:
    """Show one container's copy while it happens; `out` from the container."""
    name = record.spec.name
    detail = f"{name}:{source} to {target}" if out else f"{source} to {name}:{target}"
    progress.update(name, "Copying", detail=detail)
    yield
    progress.update(name, "Copied", State.DONE, detail=detail)


def piped(produce: Callable[[int], object], consume: Callable[[int], object]) -> None:
    """Run both ends of a pipe concurrently. An error of the producer takes precedence over that of the truncated
    archive."""
    read, write = os.pipe()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            produce(write)
        except BrokenPipeError:
            pass
        except BaseException as error:
            failed.append(error)
        finally:
            os.close(write)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        consume(read)
    except Exception:
        os.close(read)
        read = -1
        thread.join()
        if failed:
            raise failed[0] from None
        raise
    finally:
        if read >= 0:
            os.close(read)
        thread.join()
    if failed:
        raise failed[0]


def copy_from(
    context: Context, record: ContainerRecord, source: str, target: str, *, follow: bool, archive: bool
) -> None:
    if context.dry_run:
        return

    def produce(fd: int) -> None:
        context.engine.copy_out(record.group, record.id, source, fd, follow=follow)

    if target == "-":
        sys.stdout.flush()
        produce(1)
        return
    folder, rename = placed(source, target)
    left_out: list[str] = []

    def consume(fd: int) -> None:
        left_out.extend(context.engine.unpack_local(fd, folder, rename, archive=archive and os.geteuid() == 0))

    piped(produce, consume)
    if left_out:
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        why = "root can copy them with --archive" if not archive else "only root can make them"
        context.warn(f"devices are not copied: {', '.join(left_out[:3])}{more}; {why}")


def placed(source: str, target: str) -> tuple[str, Callable[[str], str]]:
    """Where to unpack the archive's tree: the folder, and the function that names its entries. Into `target` if that is
    a directory, otherwise under its name. Raises CommandError.
    """
    parts = [part for part in source.split("/") if part not in ("", ".")]
    content_only = not parts or parts[-1] == ".." or source.endswith("/.")
    into = os.path.isdir(target)
    if not into and target.endswith("/"):
        raise CommandError(f"no such directory: {target}")
    if not os.path.isdir(os.path.dirname(os.path.abspath(target))):
        raise CommandError(f"no such directory: {os.path.dirname(target)}")
    own = os.path.basename(os.path.abspath(target))

    def rename(name: str) -> str:
        if into:
            return name
        rest = name if content_only else name.partition("/")[2]
        return f"{own}/{rest}" if rest else own

    return target if into else os.path.dirname(os.path.abspath(target)), rename


def copy_to(
    context: Context, record: ContainerRecord, source: str, target: str, args: Args, *, archive: int = 0
) -> None:
    """Copy to a container. `archive`: the descriptor of the archive if the source is "-"."""
    if context.dry_run:
        return
    engine, own = context.engine, {"as_user": args.archive}
    if source == "-":
        engine.copy_in(record.group, record.id, target, archive, tree="several", **own)
        return
    if not os.path.lexists(source):
        raise CommandError(f"no such file or directory: {source}")
    is_directory = os.path.isdir(source) and (args.follow_link or not os.path.islink(source))
    tree = "directory" if is_directory else "file"

    def consume(fd: int) -> None:
        engine.copy_in(record.group, record.id, target, fd, tree=tree, **own)

    # Only its content if it ends with /.
    label = "." if source.endswith("/.") or source == "." else os.path.basename(os.path.abspath(source))
    piped(lambda fd: engine.pack_local(source, label, fd, follow=args.follow_link), consume)
