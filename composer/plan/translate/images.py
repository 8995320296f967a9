"""Names of images: checked here, where a mistake still has its place in the user's files."""

from __future__ import annotations

from composer.plan.translate.scope import Scope
from engine.errors import BadReference
from engine.image.reference import is_id, parse


def checked(scope: Scope, path: tuple[str | int, ...], name: str) -> str:
    """`name`, a reference or an image's id. What is neither is refused, and "" stands for it: no image can have it."""
    if is_id(name):
        return name
    try:
        parse(name)
    except BadReference as error:
        scope.refuse(path, f"{error.message}\n  {error.hint}" if error.hint else error.message)
        return ""
    return name
