"""Which state of what comes from elsewhere is used: a branch's commit, a tag's digest. Each is looked up once a process, and
noted, so that composer.lock can have it."""

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
    """Take these instead of asking what they are now."""
    _known.update(known)


def resolved(reference: str, key: str, inputs: Inputs, origin: Origin | None, look_up: Callable[[], str]) -> str:
    """What `key` is pinned to, else what `look_up` finds. LoadError when `inputs.locked` does not have it; `reference` is
    what a file says."""
    if inputs.locked is not None:
        if key not in inputs.locked:
            raise LoadError(f"{reference}: composer.lock has no entry for {key}", origin, "run `composer lock`")
        _known[key] = inputs.locked[key]
    elif key not in _known:
        _known[key] = look_up()
    inputs.commits[key] = _known[key]
    return _known[key]
