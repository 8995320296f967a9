"""Recordings of the containers that a keeper has started, to be used again for containers of the same shape.

Recording a start takes the keeper longer than all else that it does for a container. Replicas, and often the services of
a project, differ only in their ids and in the contents of the files that we create for them. So a recording is made of
a bundle that has placeholders instead, of the same lengths, and these are replaced in its data.
"""

from __future__ import annotations

import marshal
import os

from engine.keeper.child import namespaces, steps
from engine.keeper.child.progress import Progress
from engine.keeper.script.recorded import Recorded
from engine.keeper.script.recording import Recording, Unscripted
from engine.keeper.script.script import CHANNEL

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    from engine.keeper.bundle import Bundle, Entry

    Data = TypeVar("Data", bytes, bytearray)

_BUNDLE = (
    "namespaces user rootfs mounts devices privileged masked_paths read_only_paths sysctls cgroup_procs dns hostname "
    "domainname run_folder"
).split()
_PROCESS = "cwd tty stdin seccomp".split()
"""What the steps before the pause look at."""

_ID = os.urandom(32).hex()
"""The placeholder of ids, cut to their length. No container can guess it, so nothing else is ever replaced."""
_NAME = 12
"""Characters of an id that are the container's host name by default."""
_CONTENT = os.urandom(32).hex()
"""How the placeholders of files' contents begin."""
_MOST = 8
"""How many recordings are kept, of about 100 KB each."""


class Shape:
    """A recording, and where the contents of files are in its data, by number of the entry."""

    def __init__(self, recording: Recording, places: dict[int, int]) -> None:
        self.recording, self.places = recording, places


_shapes: dict[bytes, Shape] = {}


def recorded(bundle: Bundle, streams: list[int]) -> tuple[Recording, bytearray]:
    """The recording of the steps up to the pause, and its data for this container. `streams`: the standard streams that
    are pipes. Raises Unscripted if only a fork of the keeper can start this container."""
    if reason := steps.only_directly(bundle):
        raise Unscripted(reason)
    own = os.path.basename(bundle["run_folder"]).encode()
    if not _NAME <= len(own) <= len(_ID):
        raise Unscripted("the container's id is of another length")
    files = dict(_files(bundle["mounts"]))
    key = _key(bundle, streams, own, files)
    shape = _shapes.get(key)
    if shape is None:
        shown, _ = marshal.loads(key)
        recording = record(shown, streams)
        places = {
            number: recording.contents.index(_placeholder(number, len(content)).encode())
            for number, content in files.items()
        }
        shape = _shapes[key] = Shape(recording, places)
        if len(_shapes) > _MOST:
            del _shapes[next(iter(_shapes))]
    data = _exchanged(shape.recording.contents, _ID[: len(own)].encode(), own)
    for number, place in shape.places.items():
        data[place : place + len(files[number])] = files[number]
    return shape.recording, data


def _files(entries: list[Entry]) -> Iterator[tuple[int, bytes]]:
    """The contents of our files that are long enough for a placeholder, by number of the entry."""
    for number, entry in enumerate(entries):
        if entry["type"] == "file":
            content = (entry["content"] or "").encode()
            if len(content) > len(_CONTENT) + 8:
                yield number, content


def _placeholder(number: int, length: int) -> str:
    return f"{_CONTENT}{number}".ljust(length)


def _key(bundle: Bundle, streams: list[int], own: bytes, files: dict[int, bytes]) -> bytes:
    """The bundle and the streams with placeholders, as marshal writes them (version 2 writes equal values equally)."""
    shown: dict[str, object] = {name: bundle[name] for name in _BUNDLE if name in bundle}  # type: ignore[literal-required]
    process = bundle["process"]
    shown["process"] = {name: process[name] for name in _PROCESS if name in process}  # type: ignore[literal-required]
    mounts = bundle["mounts"][:]
    for number, content in files.items():
        mounts[number] = {**mounts[number], "content": _placeholder(number, len(content))}
    shown["mounts"] = mounts
    return _exchanged(marshal.dumps((shown, streams), 2), own, _ID[: len(own)].encode())


def _exchanged(data: Data, old: bytes, new: bytes) -> Data:
    """The data with another id, and another host name made of it."""
    return data.replace(old, new).replace(old[:_NAME], new[:_NAME])


def record(bundle: Bundle, streams: list[int]) -> Recording:
    """Record the steps up to the pause. Raises Unscripted if they do not fit."""
    recording = Recording()
    kernel, progress = Recorded(recording), Progress(bundle, streams, CHANNEL)
    kernel.take_descriptors()
    namespaces.make(kernel, progress)
    steps.carry_out(steps.BEGIN + steps.PREPARE + steps.ENTER, kernel, progress)
    recording.pause(CHANNEL)
    return recording
