"""The results of `image build`: its outputs, and files about it."""

from __future__ import annotations

import contextlib
import os
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from composer.cli.commands.cp import piped
from composer.cli.errors import CommandError
from composer.cli.project.transfers import push_images, written
from engine.spec.image import SavedImage

if TYPE_CHECKING:
    from composer.cli.parsing.build_output import Output
    from composer.cli.project.context import Context
    from engine.spec.image import ImageRecord


def check(outputs: Iterable[Output], tags: Sequence[str]) -> None:
    """Raises CommandError for outputs that cannot be written, before anything is built."""
    for output in outputs:
        if output.dest == "-" and sys.stdout.isatty():
            raise CommandError(f"dest file is required for {output.type} exporter: refusing to write to the console")
        if output.type == "tar" and os.path.isdir(output.dest):
            raise CommandError(f"destination file {output.dest} is a directory")
        if output.is_pushed and not (tags or output.names):
            raise CommandError("tag is needed when pushing to registry")


def export(
    context: Context, outputs: Iterable[Output], record: ImageRecord, tags: Sequence[str], *, quiet: bool
) -> None:
    """Write, push or load the image. CommandError, EngineError."""
    for output in outputs:
        if output.type in ("local", "tar"):
            (_folders if output.type == "local" else _tar)(context, output, _platforms(record))
        elif output.dest:
            saved = SavedImage(id=record.id, tags=(*tags, *output.names), variants=record.others)
            _archive(context, output, saved)
        if output.is_pushed:
            for tag in (*tags, *output.names):
                push_images(context, tag, quiet=quiet, compression=output.options.get("compression", ""))


def _platforms(record: ImageRecord) -> dict[str, str]:
    """Platform → id of all built images."""
    own = f"{record.os}/{record.architecture}" + (f"/{record.variant}" if record.variant else "")
    return dict(sorted({own: record.id, **record.others}.items()))


def _split(output: Output, images: Mapping[str, str]) -> list[tuple[str, str]]:
    """Folder and id: a folder for each of several platforms. CommandError for outputs that would mix platforms in a
    folder."""
    split = output.options.get("platform_split", len(images) > 1)
    if not split and len(images) > 1:
        raise CommandError("platform-split=false is not supported for several platforms: name one")
    return [(text.replace("/", "_") if split else "", image) for text, image in images.items()]


def _folders(context: Context, output: Output, images: Mapping[str, str]) -> None:
    for name, image in _split(output, images):
        folder = os.path.join(output.dest, name) if name else output.dest
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise CommandError(f"cannot create {folder}: {error.strerror}") from None

        _unpack(context, image, folder)


def _unpack(context: Context, image: str, folder: str) -> None:
    piped(
        lambda fd: context.engine.export_image(image, fd),
        lambda fd: context.engine.unpack_local(fd, folder, lambda name: name),
    )


def _tar(context: Context, output: Output, images: Mapping[str, str]) -> None:
    with _to(output.dest) as fd:
        parts = _split(output, images)
        if len(parts) == 1 and not parts[0][0]:
            context.engine.export_image(parts[0][1], fd)
            return
        with open(fd, "wb", closefd=False) as file, tarfile.open(fileobj=file, mode="w|") as whole:
            for name, image in parts:
                _append(context, whole, name, image)


def _append(context: Context, whole: tarfile.TarFile, folder: str, image: str) -> None:
    with tempfile.TemporaryFile() as part:
        context.engine.export_image(image, part.fileno())
        part.seek(0)
        with tarfile.open(fileobj=part, mode="r:") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() else None
                member.name = f"{folder}/{member.name}".rstrip("/")
                if member.islnk():
                    member.linkname = f"{folder}/{member.linkname}"
                whole.addfile(member, content)


def _archive(context: Context, output: Output, saved: SavedImage) -> None:
    docker = output.type == "docker"
    compression = output.options.get("compression", "")
    if output.options.get("tar", True):
        with _to(output.dest) as fd:
            context.engine.save_images([saved], fd, docker=docker, compression=compression)
        return
    os.makedirs(output.dest, exist_ok=True)

    def consume(fd: int) -> None:
        context.engine.unpack_local(fd, output.dest, lambda name: name)

    piped(lambda fd: context.engine.save_images([saved], fd, docker=docker, compression=compression), consume)


def _to(dest: str) -> contextlib.AbstractContextManager[int]:
    return contextlib.nullcontext(1) if dest == "-" else written(dest, 0o666)


def write(path: str, text: str) -> None:
    """CommandError."""
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from None
