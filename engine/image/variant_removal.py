"""Removing a name's images for some platforms (`docker image rm --platform`)."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import Conflict, NotFound
from engine.image import platform as platforms
from engine.image import reference, variants
from engine.image.images import ImageStore
from engine.image.in_use import containers_using


def remove(images: ImageStore, name: str, wanted: Sequence[str], *, force: bool = False) -> list[str]:
    """Lines as `docker rmi` prints them. If the name's own image is removed, a variant takes its place; if all are
    removed, so is the name. Raises NotFound, Conflict when a container uses one of them, unless `force`."""
    own = images.need(name)
    there = {str(variants.platform_of(own)): own.id}
    if not reference.is_id(name):
        there |= images.variants(name)
    removed: dict[str, str] = {}
    for text in wanted:
        requested = platforms.parse(text)
        found = next((one for one in there if requested.runs(platforms.parse(one))), None)
        if found is None:
            raise NotFound(
                "image", f"{name} for platform {requested}", hint=f"The local image is for {', '.join(sorted(there))}."
            )
        removed[found] = there[found]
    if len(removed) == len(there):
        return images.remove(name, force=force)
    in_use = containers_using(images.store)
    for image_id in removed.values():
        if image_id in in_use and not force:
            raise Conflict(
                f"image {image_id} is in use by {', '.join(in_use[image_id])}", hint="Remove the container first."
            )
    rest = {text: image_id for text, image_id in there.items() if text not in removed}
    if own.id in removed.values():
        heir = rest.pop(next(iter(sorted(rest))))
        images.tag(heir, name)
    else:
        rest = {text: image_id for text, image_id in rest.items() if image_id != own.id}
    images.set_variants(name, rest)
    lines = []
    with images.store.transaction(freeing=True) as db:
        for image_id in removed.values():
            if variants.is_nameless(db, image_id) and image_id not in in_use:
                db.execute("DELETE FROM images WHERE id = ?", (image_id,))
                lines.append(f"Deleted: {image_id}")
    return lines
