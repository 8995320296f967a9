"""The paths of the build context that a Dockerfile can read, so that a client elsewhere need not send all of it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping

from engine.build import instructions as ins
from engine.build.lex import Source
from engine.build.mount_flag import run_mount
from engine.build.parse import parse
from engine.build.sources import IMAGE_SCHEME
from engine.spec.image import ImageRecord


class _AnyPathError(Exception):
    """The paths cannot be known before the build."""


def context_paths(
    source: Source, contexts: Mapping[str, str], image: Callable[[str], ImageRecord | None]
) -> list[str] | None:
    """The paths that instructions of any stage name, relative to the context, wildcards included; None if it may be any
    path: one with a variable, the context itself, or in a trigger of a base image. `image` finds images that are here.
    Raises BuildFailed for what is not a Dockerfile."""
    found: dict[str, None] = {}
    stages: set[str] = set()
    try:
        for one in parse(source):
            if isinstance(one, ins.From):
                _check_base(one.image, stages, contexts, image)
                stages.add(one.name.lower())
            elif isinstance(one, ins.Copy) and not one.from_:
                found.update((_path(text), None) for text in one.sources if not _is_remote(text))
            elif isinstance(one, ins.Run):
                found.update((path, None) for mount in one.mounts if (path := _mounted(mount)))
    except _AnyPathError:
        return None
    return list(found)


def _check_base(
    name: str, stages: set[str], contexts: Mapping[str, str], image: Callable[[str], ImageRecord | None]
) -> None:
    if name.lower() in stages or name == "scratch":
        return
    place = contexts.get(name, f"{IMAGE_SCHEME}{name}")
    if "$" in name or not place.startswith(IMAGE_SCHEME):
        raise _AnyPathError
    record = image(place.removeprefix(IMAGE_SCHEME))
    if record is None or record.config.on_build:
        raise _AnyPathError


def _mounted(mount: ins.MountText) -> str:
    """The path of a bind mount from the context, "" for other mounts."""
    if mount.from_:
        return ""
    if "$" in mount.text:
        raise _AnyPathError
    try:
        read = run_mount(mount.text, str)
    except ValueError:
        raise _AnyPathError from None  # the build says what is wrong
    return _path(read.source) if read.type == "bind" else ""


def _is_remote(text: str) -> bool:
    return "://" in text or text.startswith("git@")


def _path(text: str) -> str:
    """The path relative to the context; `..` stops at the context's root."""
    if any(sign in text for sign in ("$", "\\", "[", "**")):
        raise _AnyPathError
    path = posixpath.normpath(f"/{text}").strip("/")
    if not path:
        raise _AnyPathError
    return path
