"""One build for several platforms: an image for each, under the same tags."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from engine.build.cache_exchange.entry import parse
from engine.image import platform
from engine.image.images import ImageStore
from engine.spec.image import BuildSpec, ImageRecord


def build_each(spec: BuildSpec, images: ImageStore, build: Callable[[BuildSpec, str], ImageRecord]) -> ImageRecord:
    """`build` builds the image of a specification with one platform; its steps have the given title. Tags move only
    after all images are built, so a failure does not change them. The last build exports the cache of all. Returns the
    image for this machine, or else for the first platform."""
    wanted = list(dict.fromkeys(platform.parse(text) for text in spec.platforms))
    own = next((one for one in wanted if platform.host().runs(one)), wanted[0])
    inline = tuple(text for text in spec.cache_to if parse(text, export=True).type == "inline")
    others = {
        str(one): build(structs.replace(spec, platforms=(str(one),), tags=(), cache_to=inline), str(one)).id
        for one in wanted
        if one != own
    }
    record = build(structs.replace(spec, platforms=(str(own),)), str(own) if others else "")
    for tag in spec.tags:
        images.set_variants(tag, others)
    return structs.replace(images.need(record.id), others=others)
