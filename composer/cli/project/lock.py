"""Reading and writing composer.lock (composer.plan.lock)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
import msgspec

from composer.cli.errors import CommandError
from composer.cli.project.concurrently import Task, side_by_side
from composer.cli.render.progress import Progress, State
from composer.plan.lock import VERSION, Lock, built_here, full_name, images_of
from engine.errors import BadReference, EngineError

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.run.port import Engine
    from engine.spec.image import BuildSpec

_LIMIT = 16 << 20
_decode = msgspec.json.Decoder(Lock).decode


def read(path: str) -> Lock:
    """The lock file at `path`. Raises CommandError if it is missing or not a valid lock file."""
    try:
        with open(path, "rb") as file:
            lock = _decode(file.read(_LIMIT))
        if lock.version != VERSION:
            raise CommandError(f"{path} has version {lock.version}; this composer reads version {VERSION}")
        lock.pins  # noqa: B018  (for what it raises)
    except FileNotFoundError:
        raise CommandError(f"cannot find {path}\nRun `composer lock` to write it.") from None
    except OSError as error:
        raise CommandError(f"open {path}: {(error.strerror or str(error)).lower()}") from None
    except (msgspec.MsgspecError, BadReference) as error:
        raise CommandError(f"{path}: {error}\nRun `composer lock` to write it again.") from None
    return lock


def write(path: str, lock: Lock) -> None:
    """Replace the file atomically. Raises CommandError."""
    from composer.cli.project.transfers import written

    with written(path, 0o644) as fd, os.fdopen(fd, "wb", closefd=False) as file:
        file.write(msgspec.json.format(msgspec.json.encode(lock), indent=2) + b"\n")


def current(context: Context, *, keep: bool, quiet: bool) -> Lock:
    """The current lock of the whole project, with all its profiles; with `keep`, entries of the existing file that are
    still used are kept. Raises CommandError for the first image or file that cannot be found."""
    kept = read(context.lock_path).pins if keep and os.path.exists(context.lock_path) else {}
    desired, commits = context.everything(kept)
    pins = {**kept, **built_here(desired)}
    found: dict[str, str] = dict(commits)
    with context.progress("lock", quiet=quiet) as progress:
        tasks = {f"Image {name}": _image(name, progress, pins, found) for name in images_of(desired)}
        for service in desired.every():
            if service.build is not None:
                step = f"Build {service.name}"
                tasks[step] = _build(step, msgspec.structs.replace(service.build, pins=pins), progress, found)
        side_by_side(context, tasks, progress)
    mine = built_here(desired)
    return Lock.of({name: pin for name, pin in found.items() if name not in mine})


def _image(name: str, progress: Progress, pins: dict[str, str], found: dict[str, str]) -> Task:
    def work(engine: Engine) -> None:
        step = f"Image {name}"
        progress.update(step, "Locking")
        full = full_name(name)
        try:
            found[full] = pins.get(full) or engine.lock(name)
        except EngineError as error:
            raise CommandError(f"cannot lock the image {name}: {error}") from error
        progress.update(step, "Locked", State.DONE)

    return work


def _build(step: str, spec: BuildSpec, progress: Progress, found: dict[str, str]) -> Task:
    def work(engine: Engine) -> None:
        progress.update(step, "Locking")
        try:
            found.update(engine.lock_build(spec))
        except EngineError as error:
            raise CommandError(f"cannot lock {step.lower()}: {error}") from error
        progress.update(step, "Locked", State.DONE)

    return work
