"""--progress: the sink that a command's progress goes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from composer.cli.parsing.options import check_progress
from composer.cli.render.ansi import wants_colour, wants_control
from composer.cli.render.progress import JsonProgress, PlainProgress, Progress


def progress_for(
    mode: str, ansi: str, stream: TextIO, environ: Mapping[str, str], *, dry_run: bool = False, title: str = "Running",
    log: TextIO | None = None,
) -> Progress:  # fmt: skip
    """The sink for --progress `mode`, --ansi `ansi` and where stderr goes. `log`: where plain lines of builds go instead."""
    check_progress(mode)
    if mode in ("quiet", "none"):
        return Progress(stream)
    if mode == "json":
        return JsonProgress(stream, dry_run=dry_run)
    if mode == "tty" or (mode in ("", "auto") and wants_control(ansi, stream) and environ.get("TERM") != "dumb"):
        return _tty(stream, colour=wants_colour(ansi, stream, environ), title=title, dry_run=dry_run)
    return PlainProgress(stream, prefix=" DRY-RUN MODE - " if dry_run else "", log=log)


def _tty(stream: TextIO, *, colour: bool, title: str, dry_run: bool) -> Progress:
    from composer.cli.render.terminal import (
        TtyProgress,  # its thread takes a millisecond to start, which a pipe does not need
    )

    return TtyProgress(stream, colour=colour, title=title, dry_run=dry_run)
