"""Pins of remote files: the commit of a branch, the digest of a tag. Each is looked up once per process and recorded
for composer.lock."""

from __future__ import annotations

from composer.load.errors import LoadError

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from composer.load.options import Inputs
    from composer.load.tree.nodes import Origin

_known: dict[str, str] = {}
"""REMOTE#REF → commit, oci://REFERENCE → digest."""


def assume(known: Mapping[str, str]) -> None:
    """Use these pins instead of looking up the current ones."""
    _known.update(known)


def resolved(reference: str, key: str, inputs: Inputs, origin: Origin | None, look_up: Callable[[], str]) -> str:
    """The pin of `key`, or else the result of `look_up`. Raises LoadError, which names `reference`, when
    `inputs.locked` has no such key."""
    if inputs.locked is not None:
        if key not in inputs.locked:
            raise LoadError(f"{reference}: composer.lock has no entry for {key}", origin, "run `composer lock`")
        _known[key] = inputs.locked[key]
    elif key not in _known:
        _known[key] = look_up()
    inputs.commits[key] = _known[key]
    return _known[key]
