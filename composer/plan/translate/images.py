"""Check image names early, while their position in the user's files is known."""

from __future__ import annotations

from composer.plan.translate.scope import Scope
from engine.errors import BadReference
from engine.image.reference import is_id, parse


def checked(scope: Scope, path: tuple[str | int, ...], name: str) -> str:
    """`name` if it is a reference or an image id. Anything else is refused and becomes "", which no image can have."""
    if is_id(name):
        return name
    try:
        parse(name)
    except BadReference as error:
        scope.refuse(path, f"{error.message}\n  {error.hint}" if error.hint else error.message)
        return ""
    return name
