"""composer commit: create an image from a container's current file system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.commands.export import any_container
from composer.cli.errors import CommandError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from engine.spec.image import ImageRecord
    from engine.spec.state import ContainerRecord

COMMAND = command(
    "commit",
    "commit [OPTIONS] SERVICE [REPOSITORY[:TAG]]",
    (
        Flag("author", 'Author of the image ("John Hannibal Smith <hannibal@a-team.com>")', "string", short="a"),
        Flag("change", "Apply a Dockerfile instruction to the created image", "strings", short="c", metavar="list"),
        Flag("index", "Index of the container if the service has several", "uint", default=0),
        Flag("message", "Commit message", "string", short="m"),
        Flag("pause", "Pause the container during the commit", short="p", default=True),
    ),
    positional=(1, 2),
)


def run(context: Context, args: Args) -> int:
    service = args.positional[0]
    record = any_container(context, service, args.index)
    name = record.spec.name
    from composer.cli.project.change import change
    from composer.cli.render.progress import State
    from engine.spec.state import Status

    pause = args.pause and record.state.status is Status.RUNNING and not context.dry_run
    with context.progress("commit") as progress:
        progress.update(name, "Committing")
        if context.dry_run:
            progress.update(name, "Committed", State.DONE)
            return 0
        if pause:
            try:
                change(context, "pause", containers=(record.id,), quiet=True)
            except CommandError as error:
                if "pause" in args.given:
                    raise
                progress.note(f"Warning: cannot pause the container, committing it while it runs: {error}")
                pause = False
        try:
            image = commit_container(context, record, args)
        finally:
            if pause:
                change(context, "unpause", containers=(record.id,), quiet=True)
        progress.update(name, f"Committed as {image.id}", State.DONE)
    return 0


def commit_container(context: Context, record: ContainerRecord, args: Args) -> ImageRecord:
    """Create the image that the flags and the second argument describe. Pausing the container is up to the caller."""
    return context.engine.commit(
        record.group,
        record.id,
        args.positional[1] if len(args.positional) > 1 else "",
        author=args.author,
        message=args.message,
        changes=args.change,
    )
