"""Images as commands list and inspect them, and as the Docker API returns them (Docker Engine API 1.55, "Images")."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from msgspec.json import decode

from composer.view import lookup
from composer.view.api_format import timestamp
from composer.view.errors import InUse, Unknown
from composer.view.filters import Filters
from composer.view.inspect import healthcheck
from engine.spec.image import for_platform
from engine.vocabulary import DOCKER_HUB

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from composer.run.port import Engine
    from engine.spec.image import ImageConfig, ImageDetails, ImageRecord
    from engine.spec.state import ContainerRecord

FILTERS = ("before", "dangling", "label", "label!", "reference", "since", "until")
HUB = (f"{DOCKER_HUB}/library/", f"{DOCKER_HUB}/")


def familiar(name: str) -> str:
    """A reference as people write it: without Docker Hub's host and its `library`."""
    for prefix in HUB:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def spelled_out(tag: str, image: ImageRecord) -> str:
    """A tag of the image with its registry, and without `latest` if `tag` does not say it."""
    bare = ":" not in tag.rpartition("/")[2]
    wanted = familiar(f"{tag}:latest" if bare else tag)
    found = next((one for one in image.tags if familiar(one) == wanted), tag)
    return found.removesuffix(":latest") if bare else found


def attached(details: ImageDetails) -> dict[str, Any]:
    """Details that Docker does not show: annotations and attestations, if there are any."""
    attestations = [{"PredicateType": kind, "Predicate": decode(predicate)} for kind, predicate in details.attestations]
    return ({"Annotations": details.annotations} if details.annotations else {}) | (
        {"Attestations": attestations} if attestations else {}
    )


def need(engine: Engine, name: str, platform: str = "") -> ImageRecord:
    """Find an image by id, tag or digest, for a platform if one is given. Raises Unknown."""
    record = engine.image(name)
    if record is not None and platform:
        chosen = engine.image(for_platform(name, platform))
        if chosen is None:
            own = f"{record.os}/{record.architecture}" + (f"/{record.variant}" if record.variant else "")
            raise Unknown(
                f"image with reference {name} was found but its platform ({own}) does not match the specified platform"
                f" ({platform})"
            )
        return chosen
    if record is None:
        last = name.rpartition("/")[2]
        tagged = name if ":" in last or "@" in last else f"{name}:latest"
        raise Unknown(f"No such image: {tagged}")
    return record


def selected(engine: Engine, filters: Filters) -> list[ImageRecord]:
    """The images that match, newest first. Raises Refusal for invalid values."""
    dangling = filters.boolean("dangling")
    before = [need(engine, name).created_at for name in filters.get("before")]
    since = [need(engine, name).created_at for name in filters.get("since")]
    until = filters.before()
    wanted = filters.get("reference")

    def fits(image: ImageRecord) -> bool:
        tags = [familiar(tag) for tag in image.tags]
        return (
            (dangling is None or dangling == (not tags))
            and (not wanted or any(is_referenced(tag, one) for tag in tags for one in wanted))
            and filters.labelled(image.config.labels)
            and all(image.created_at < created for created in before)
            and all(image.created_at > created for created in since)
            and (until is None or image.created_at < until)
        )

    return [image for image in sorted(engine.images(), key=lambda image: -image.created_at) if fits(image)]


PRUNE_FILTERS = ("dangling", "label", "label!", "until")


def unused(engine: Engine, filters: Filters, *, everything: bool = False) -> list[ImageRecord]:
    """The images that a prune removes: unused ones without a tag, or all unused ones with `everything` (the filter
    `dangling=false`). Raises Refusal."""
    everything = everything or filters.boolean("dangling") is False
    until = filters.before()
    used = {one for record in lookup.every(engine) for one in (record.spec.image, *_mounted(record))}
    return [
        image
        for image in engine.images()
        if image.id not in used
        and (everything or not image.tags)
        and filters.labelled(image.config.labels)
        and (until is None or image.created_at < until)
    ]


def _mounted(record: ContainerRecord) -> list[str]:
    return [mount.source for mount in record.spec.mounts if mount.type == "image"]


def users(engine: Engine) -> Counter[str]:
    """Image id → number of its containers."""
    return Counter(record.spec.image for record in lookup.every(engine))


def is_referenced(tag: str, wanted: str) -> bool:
    """The filter `reference`: a name, with or without a tag, with `*` and `?` as in Go's path.Match."""
    from fnmatch import fnmatchcase

    name = tag.rpartition(":")[0] if ":" in tag.rpartition("/")[2] else tag
    return any(fnmatchcase(one, wanted) and one.count("/") == wanted.count("/") for one in (tag, name))


def listed(image: ImageRecord, containers: int, references: Sequence[str] = ()) -> dict[str, Any]:
    """A row of a listing; `references` are the values of that filter, which select the names shown."""

    def names(texts: Iterable[str]) -> list[str]:
        found = [familiar(text) for text in texts]
        return [one for one in found if not references or any(is_referenced(one, wanted) for wanted in references)]

    return {
        "Containers": containers,
        "Created": int(image.created_at),
        "Id": image.id,
        "Labels": dict(image.config.labels) or None,
        "ParentId": "",
        "RepoDigests": names(image.digests),
        "RepoTags": names(image.tags),
        "SharedSize": -1,
        "Size": image.size,
    }


def inspected(image: ImageRecord, details: ImageDetails) -> dict[str, Any]:
    """`GET /images/{name}/json`, and an element of `image inspect`."""
    return {
        "Id": image.id,
        "RepoTags": [familiar(tag) for tag in image.tags],
        "RepoDigests": [familiar(digest) for digest in image.digests],
        "Parent": details.parent,
        "Comment": details.comment,
        "Created": timestamp(image.created_at),
        "DockerVersion": "",
        "Author": details.author,
        "Architecture": image.architecture,
        **({"Variant": image.variant} if image.variant else {}),
        "Os": image.os,
        "Size": image.size,
        "GraphDriver": {"Name": "overlay2", "Data": {}},
        "RootFS": {"Type": "layers", "Layers": list(details.diff_ids)},
        "Metadata": {"LastTagTime": timestamp(image.tagged_at)},
        "Config": config(image.config),
    }


def config(image: ImageConfig) -> dict[str, Any]:
    """The execution part of an image's configuration (OCI image specification, config.md)."""
    found: dict[str, Any] = {
        "Cmd": list(image.command) or None,
        "Entrypoint": list(image.entrypoint) or None,
        "Env": list(image.environment) or None,
        "Labels": dict(image.labels) or None,
        "OnBuild": list(image.on_build) or None,
        "User": image.user,
        "Volumes": {path: {} for path in image.volumes} or None,
        "WorkingDir": image.working_dir,
    }
    if image.exposed_ports:
        found["ExposedPorts"] = {port: {} for port in image.exposed_ports}
    if image.stop_signal:
        found["StopSignal"] = image.stop_signal
    if image.shell:
        found["Shell"] = list(image.shell)
    if image.healthcheck is not None:
        found["Healthcheck"] = healthcheck(image.healthcheck)
    return found


def history(engine: Engine, image: ImageRecord) -> list[dict[str, Any]]:
    """Newest first."""
    steps = engine.image_details(image.id).history
    rows = [
        {
            "Id": image.id if position == len(steps) - 1 else "<missing>",
            "Created": int(step.created_at),
            "CreatedBy": step.created_by,
            "Tags": [familiar(tag) for tag in image.tags] or None if position == len(steps) - 1 else None,
            "Size": step.size,
            "Comment": step.comment,
        }
        for position, step in enumerate(steps)
    ]
    return rows[::-1]


def check_removable(engine: Engine, image: ImageRecord, name: str, *, force: bool) -> None:
    """Check that `name` can be removed. Raises InUse while a container uses it."""
    by_id = image.id.removeprefix("sha256:").startswith(name.removeprefix("sha256:"))
    users = [record for record in lookup.every(engine) if record.spec.image == image.id]
    running = [record for record in users if record.state.status.alive]
    if by_id and len(image.tags) > 1 and not force:
        raise _conflict(name, "must be forced", "image is referenced in multiple repositories")
    if users and (by_id or len(image.tags) < 2) and (running or not force):
        record = (running or users)[0]
        if not by_id and not force:
            raise InUse(
                f'conflict: unable to remove repository reference "{name}" (must force) - container {record.id[:12]} is '
                f"using its referenced image {image.id.removeprefix('sha256:')[:12]}"
            )
        if running:
            raise _conflict(name, "cannot be forced", f"image is being used by running container {record.id[:12]}")
        raise _conflict(name, "must be forced", f"image is being used by stopped container {record.id[:12]}")


def _conflict(name: str, how: str, why: str) -> InUse:
    return InUse(
        f"conflict: unable to delete {name.removeprefix('sha256:')[:12] if len(name) > 60 else name} ({how}) - {why}",
    )
