"""LLB definitions that consist of one source (moby/buildkit, solver/pb/ops.proto): contexts that a client gives as the
result of another build, a repository, or an image.

Nothing is executed: a definition with any other operation is refused, with that operation's name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from msgspec import Struct

from composer.serve.buildkit import wire
from composer.serve.buildkit.grpc import INVALID, UNIMPLEMENTED, Failed

MADE_HERE = "composer-image://"
"""Scheme of images that were built here, followed by the id."""
_INPUTS, _SOURCE = 1, 3
_OPERATIONS = {2: "exec", 4: "file", 5: "build", 6: "merge", 7: "diff", 8: "passthrough"}


class Source(Struct, frozen=True):
    """`identifier` is of the form scheme://rest, "" for an empty file system."""

    identifier: str
    attributes: Mapping[str, str]


def source_of(data: bytes) -> Source:
    """The only source of a pb.Definition. Failed."""
    operations = [(hashlib.sha256(one).hexdigest(), wire.fields(one)) for one in wire.blocks(wire.fields(data), 1)]
    if not operations:
        return Source("", {})
    known = dict(operations)
    _, last = operations[-1]
    inputs = [wire.fields(one) for one in wire.blocks(last, _INPUTS)]
    if len(inputs) != 1:
        raise Failed(INVALID, "the LLB definition has no result")
    operation = known.get(wire.text(inputs[0], 1).removeprefix("sha256:"), {})
    for number, name in _OPERATIONS.items():
        if number in operation:
            raise Failed(
                UNIMPLEMENTED, f"LLB definitions with the operation {name} are not supported here: only sources"
            )
    for block in wire.blocks(operation, _SOURCE):
        source = wire.fields(block)
        return Source(wire.text(source, 1), wire.strings(source, 2))
    raise Failed(INVALID, "the LLB definition's result is missing from it")


def image_definition(image_id: str) -> bytes:
    """The definition by which a client's other builds refer to an image that was built here."""
    operation = wire.block(_SOURCE, wire.message((1, f"{MADE_HERE}{image_id}")))
    result = wire.block(_INPUTS, wire.message((1, _digest(operation))))
    metadata = b"".join(
        wire.block(2, wire.message((1, _digest(one))) + wire.block(2, b"")) for one in (operation, result)
    )
    return wire.block(1, operation) + wire.block(1, result) + metadata


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
