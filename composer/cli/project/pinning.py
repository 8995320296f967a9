"""Pin a project's images to the current digests in their registries."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from composer.load.tree.nodes import Fields, Map, Sequence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from composer.cli.project.context import Context


def pin(context: Context, tree: Any) -> None:
    """Add the digest to each image name: of services, jobs, their pre_start hooks, and mounted images. Looks up each
    name once, concurrently. Raises as a pull does."""
    places = [(holder, key) for container in _containers(tree) for holder, key in _images(container)]
    names = list(dict.fromkeys(holder[key] for holder, key in places))
    with ThreadPoolExecutor(8) as pool:
        pinned = dict(zip(names, pool.map(lambda name: context.new_engine().pinned(name), names), strict=True))
    for holder, key in places:
        holder[key] = pinned[holder[key]]


def locked(context: Context, tree: Any) -> Any:
    """An override file that only pins the project's images. It cannot pin hooks, because override files append to
    them."""
    sections = {}
    for section in ("services", "jobs"):
        entries = sorted((tree.get(section) or {}).items())
        for name, service in entries:
            if any(hook.get("image") for hook in service.get("pre_start") or ()):
                context.warn(
                    f'service "{name}": pre_start hook images are not pinned in the override file produced by '
                    "--lock-image-digests, use the full --resolve-image-digests output to pin them"
                )
        if entries:
            sections[section] = Map({name: _lock(service) for name, service in entries})
    return Fields({"services": Map(), **sections})


def _lock(service: Any) -> Fields:
    mounts = [mount for mount in service.get("volumes") or () if mount.get("type") == "image"]
    image = {"image": service["image"]} if service.get("image") else {}
    return Fields(image | ({"volumes": Sequence(mounts)} if mounts else {}))


def _containers(tree: Any) -> Iterator[Any]:
    for section in ("services", "jobs"):
        for container in (tree.get(section) or {}).values():
            yield container
            yield from container.get("pre_start") or ()


def _images(container: Any) -> Iterator[tuple[Any, str]]:
    """The places where a container names images: mapping and key."""
    if container.get("image"):
        yield container, "image"
    for mount in container.get("volumes") or ():
        if mount.get("type") == "image" and mount.get("source"):
            yield mount, "source"
