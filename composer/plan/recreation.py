"""The rules that decide whether a container must be changed because its service has changed, and why: recreated, or
only connected to other networks."""

from __future__ import annotations

import msgspec

from composer.plan import labels
from composer.plan.desired import DesiredService
from composer.plan.observed import Snapshot
from engine.spec.state import ContainerRecord, Status

MAX_REASONS = 3
HIDDEN = "sha256:"
"""Replaces text that must not be shown in a terminal."""
CONTENTS = ("configs_content.", "secrets_content.")
"""Summary keys for the contents of copied configs and secrets."""
_NETWORKS = "networks."
"""Summary keys of a service's networks."""


def reason(service: DesiredService, record: ContainerRecord, snapshot: Snapshot) -> str:
    """ "" when the container is up to date, otherwise the difference, by field where it is known."""
    changed = _configuration(service, record)
    if changed is not None:
        return f"configuration changed{changed}"
    return _image(service, record, snapshot) or _moved(service, record) or _missing_object(record, snapshot)


def only_networks(service: DesiredService, record: ContainerRecord, snapshot: Snapshot) -> bool:
    """Whether nothing but the networks of an outdated container differs, and the kernel can change them while it
    runs."""
    if record.state.status is not Status.RUNNING or record.state.stopping:
        return False
    if record.spec.network_mode or service.container.network_mode or not service.container.networks:
        return False
    if _image(service, record, snapshot) or _volumes(service, record) or _missing_object(record, snapshot):
        return False
    before = _before(record)
    if not before or not service.summary:
        return False
    changed = {key for key in before.keys() | service.summary.keys() if before.get(key) != service.summary.get(key)}
    same = record.spec.labels.get(labels.HASH) == service.hash
    return bool(changed or same) and all(key.startswith(_NETWORKS) for key in changed)


def _image(service: DesiredService, record: ContainerRecord, snapshot: Snapshot) -> str:
    """The container's image and mounted images, where their reference now names another image."""
    wanted = snapshot.images.get(service.wanted_image, "")
    if wanted and record.spec.image != wanted:
        return f"image {service.image} is now {_short(wanted)}, was {_short(record.spec.image)}"
    mounted = {mount.target: mount.source for mount in record.spec.mounts if mount.type == "image"}
    for mount in service.container.mounts:
        wanted = snapshot.images.get(mount.source, "") if mount.type == "image" else ""
        if wanted and mounted.get(mount.target, wanted) != wanted:
            return f"image {mount.source} is now {_short(wanted)}, was {_short(mounted[mount.target])}"
    return ""


def _missing_object(record: ContainerRecord, snapshot: Snapshot) -> str:
    """A network or volume of the container that no longer exists."""
    for attachment in record.spec.networks:
        if attachment.network not in snapshot.networks:
            return f"its network {attachment.network} is gone"
    for mount in record.spec.mounts:
        if mount.type == "volume" and mount.source not in record.state.anonymous_volumes:
            if mount.source not in snapshot.volumes:
                return f"its volume {mount.source} is gone"
    return ""


def _moved(service: DesiredService, record: ContainerRecord) -> str:
    """Networks and volumes whose name in the engine changed. The hash covers only their names in the model. Networks to
    which a user has connected the container are ignored, as in Docker Compose."""
    before = {attachment.network for attachment in record.spec.networks}
    wanted = {attachment.network for attachment in service.container.networks}
    if wanted - before:
        return f"networks: {' '.join(sorted(before)) or 'nothing'} → {' '.join(sorted(wanted)) or 'nothing'}"
    return _volumes(service, record)


def _volumes(service: DesiredService, record: ContainerRecord) -> str:
    sources = {mount.target: mount.source for mount in record.spec.mounts if mount.type == "volume"}
    for mount in service.container.mounts:
        source = sources.get(mount.target, mount.source)
        if mount.type == "volume" and mount.source and source != mount.source:
            return f"volume at {mount.target}: {_shown(source)} → {_shown(mount.source)}"
    return ""


def summary_text(service: DesiredService) -> str:
    """The value of the label that later shows what changed."""
    return msgspec.json.encode(service.summary, order="sorted").decode()


def _configuration(service: DesiredService, record: ContainerRecord) -> str | None:
    """None when the container's configuration matches its service, otherwise the fields that differ.

    The hash is Docker Compose's: it ignores the contents of copied configs and secrets, and covers keys that do not
    affect a container (`develop`). So where there is a summary, the summary decides.
    """
    same = record.spec.labels.get(labels.HASH) == service.hash
    if not record.spec.labels.get(labels.SUMMARY) or not service.summary:
        return None if same else ""
    if record.spec.labels[labels.SUMMARY] == summary_text(service):
        return None
    return _fields(service, _before(record), contents_only=same)


def _before(record: ContainerRecord) -> dict[str, str]:
    """The summary that the container was created with; empty if there is none that can be read."""
    import json

    try:
        found: dict[str, str] = json.loads(record.spec.labels.get(labels.SUMMARY) or "{}")
    except ValueError:
        return {}
    return found


def _fields(service: DesiredService, before: dict[str, str], *, contents_only: bool) -> str | None:
    if not before:
        return None if contents_only else ""
    changed = []
    for key in sorted(before.keys() | service.summary.keys()):
        if contents_only and not key.startswith(CONTENTS):
            continue
        old, new = before.get(key), service.summary.get(key)
        if old != new and any(value and value.startswith(HIDDEN) for value in (old, new)):
            changed.append(f"{key} changed")
        elif old != new:
            changed.append(f"{key}: {_shown(old)} → {_shown(new)}")
    if not changed:
        return None
    more = f" and {len(changed) - MAX_REASONS} more" if len(changed) > MAX_REASONS else ""
    return f" ({'; '.join(changed[:MAX_REASONS])}{more})"


def _shown(value: str | None) -> str:
    if not value:
        return "nothing" if value is None else '""'
    return value if len(value) <= 60 else value[:57] + "…"


def _short(image: str) -> str:
    return image.removeprefix("sha256:")[:12]
