"""Adds a layer's tar stream, compressed or not, to the layer store."""

from __future__ import annotations

import hashlib
from typing import IO

from engine.errors import Corrupt
from engine.image.config import next_chain_id
from engine.image.layer.compression import Limits, Readable, chunks
from engine.image.layer.pack import pack
from engine.image.layer.pipeline import Hashed
from engine.image.layer.unpack import unpack
from engine.image.layers import Draft, Layer, LayerStore


class Extracted:
    """A layer that is unpacked into a draft but not yet recorded: its diff_id (verified if one was promised), and its size
    in bytes, unpacked and as a tar stream. `has_root`: the layer has an entry for its root directory."""

    __slots__ = ("diff_id", "has_root", "size", "stream")

    def __init__(self, diff_id: str, size: int, stream: int, has_root: bool) -> None:
        self.diff_id, self.size, self.stream, self.has_root = diff_id, size, stream, has_root


def extract(
    draft: Draft, file: Readable, subject: str, *, diff_id: str = "", limits: Limits | None = None
) -> Extracted:
    """Unpack the layer in `file` into `draft`. May run in any thread. Raises Corrupt when the stream is damaged or does not
    match `diff_id`."""
    hashed = Hashed(chunks(file, subject, limits))
    done = unpack(iter(hashed), draft.fd, subject, limits=limits)
    if diff_id and hashed.digest != diff_id:
        raise Corrupt(f"{subject} has the diff_id {hashed.digest}, but the image's configuration promises {diff_id}")
    return Extracted(hashed.digest, done.size, hashed.size, done.has_root)


def seal(layers: LayerStore, draft: Draft, parent: Layer | None) -> Layer:
    """Record the content of `draft` as a layer on top of `parent`. Its diff_id is that of the tar stream that `pack` produces,
    so that a push can produce it again."""
    plain = hashlib.sha256()
    stream = 0

    def write(data: bytes) -> None:
        nonlocal stream
        plain.update(data)
        stream += len(data)

    size = pack(draft.fd, write, root_entry=draft.root_changed)
    diff_id = f"sha256:{plain.hexdigest()}"
    chain_id = next_chain_id(parent.chain_id if parent else "", diff_id)
    return layers.commit(draft, chain_id=chain_id, diff_id=diff_id, size=size, stream=stream)


def add(layers: LayerStore, file: IO[bytes], subject: str, *, parent: Layer | None = None) -> Layer:
    """Unpack the tar stream in `file` as a new layer on top of `parent`."""
    with layers.draft(parent.folder if parent else "") as draft:
        unpack(iter(Hashed(chunks(file, subject))), draft.fd, subject)
        return seal(layers, draft, parent)
