"""Images transferred outside a project: pulls and pushes with progress, archives from and to files."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from composer.cli.errors import CommandError
from composer.cli.project.acquire import transfers
from composer.cli.render.progress import State
from composer.view import images
from engine.tls import client_context

if TYPE_CHECKING:
    from composer.cli.project.context import Context


def pull_image(context: Context, name: str, *, platform: str = "", quiet: bool = False) -> str:
    """Pull an image; returns its full name. EngineError."""
    step = f"Image {name}"
    with context.progress("pull", quiet=quiet) as progress:
        progress.update(step, "Pulling")
        if not context.dry_run:
            record = context.engine.pull(name, platform=platform, progress=transfers(progress, step))
            name = next((tag for tag in record.tags if images.familiar(tag).startswith(name.partition("@")[0])), name)
        progress.update(step, "Pulled", State.DONE)
    return name


def push_images(
    context: Context, name: str, *, every_tag: bool = False, quiet: bool = False, platform: str = "",
    compression: str = "",
) -> None:  # fmt: skip
    """Push a tag (by default `latest`), or all local tags of the repository, for all platforms or one. `compression`
    applies to new layers. Raises CommandError, EngineError."""
    last = name.rpartition("/")[2]
    names = [name if ":" in last else f"{name}:latest"]
    if every_tag:
        if ":" in last:
            raise CommandError("tag can't be used with --all-tags/-a")
        tags = [images.familiar(tag) for image in context.engine.images() for tag in image.tags]
        names = sorted(tag for tag in tags if tag.rpartition(":")[0] == images.familiar(name))
    if not names or any(context.engine.image(one) is None for one in names):
        raise CommandError(f"An image does not exist locally with the tag: {images.familiar(name)}")
    with context.progress("push", quiet=quiet) as progress:
        for one in names:
            step = f"Image {one}"
            progress.update(step, "Pushing")
            if not context.dry_run:
                context.engine.push(one, progress=transfers(progress, step), platform=platform, compression=compression)
            progress.update(step, "Pushed", State.DONE)


@contextlib.contextmanager
def opened(path: str, *, urls: bool = False) -> Iterator[int]:
    """Open a file for reading, `-` for stdin; with `urls` also a URL. Raises CommandError."""
    if urls and path.startswith(("http://", "https://")):
        with _downloaded(path) as fd:
            yield fd
        return
    if path == "-":
        yield 0
        return
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CommandError(f"open {path}: {(error.strerror or str(error)).lower()}") from None
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _downloaded(url: str) -> Iterator[int]:
    import shutil
    import urllib.error
    import urllib.request

    with tempfile.TemporaryFile() as file:
        try:
            with urllib.request.urlopen(url, timeout=60, context=client_context()) as response:
                shutil.copyfileobj(response, file, 1 << 20)
        except urllib.error.HTTPError as error:
            raise CommandError(f"cannot download {url}: the server answered {error.code} {error.reason}") from None
        except OSError as error:
            raise CommandError(f"cannot download {url}: {getattr(error, 'reason', error)}") from None
        file.seek(0)
        yield file.fileno()


@contextlib.contextmanager
def written(path: str, mode: int = 0o600) -> Iterator[int]:
    """A file that appears under its name once it is complete; an existing file is kept until then. If the process is
    killed before, nothing of it remains, where the file system has files without a name (open(2), O_TMPFILE). Raises
    CommandError."""
    direct = os.path.exists(path) and not os.path.isfile(path)  # a pipe, /dev/stdout
    draft = path if direct else f"{path}.{os.getpid()}.part"
    try:
        fd = -1 if direct else _nameless(os.path.dirname(path) or ".", mode)
        named = fd < 0
        if named:
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    except OSError as error:
        raise CommandError(f"open {path}: {(error.strerror or str(error)).lower()}") from None
    try:
        yield fd
        if not named:
            _give_name(fd, draft)
            named = True
        if not direct:
            os.rename(draft, path)
    except BaseException:
        if named and not direct:
            os.unlink(draft)
        raise
    finally:
        os.close(fd)


def _nameless(folder: str, mode: int) -> int:
    """A file without a name, to be linked into `folder`; -1 if its file system has none. Raises OSError."""
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR):
            return -1
        raise


def _give_name(fd: int, path: str) -> None:
    descriptors = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # of a killed process that had our number
        os.link(str(fd), path, src_dir_fd=descriptors, follow_symlinks=True)
    finally:
        os.close(descriptors)
