"""The rules that decide whether a container must be recreated because its service has changed, and why."""

from __future__ import annotations

import msgspec

from composer.plan import labels
from composer.plan.desired import DesiredService
from composer.plan.observed import Snapshot
from engine.spec.state import ContainerRecord

MAX_REASONS = 3
HIDDEN = "sha256:"
"""Replaces text that must not be shown in a terminal."""
CONTENTS = ("configs_content.", "secrets_content.")
"""Summary keys for the contents of copied configs and secrets."""


def reason(service: DesiredService, record: ContainerRecord, snapshot: Snapshot) -> str:
    """ "" when the container is up to date, otherwise the difference, by field where it is known."""
    changed = _configuration(service, record)
    if changed is not None:
        return f"configuration changed{changed}"
    wanted = snapshot.images.get(service.wanted_image, "")
    if wanted and record.spec.image != wanted:
        return f"image {service.image} is now {_short(wanted)}, was {_short(record.spec.image)}"
    mounted = {mount.target: mount.source for mount in record.spec.mounts if mount.type == "image"}
    for mount in service.container.mounts:
        wanted = snapshot.images.get(mount.source, "") if mount.type == "image" else ""
        if wanted and mounted.get(mount.target, wanted) != wanted:
            return f"image {mount.source} is now {_short(wanted)}, was {_short(mounted[mount.target])}"
    moved = _moved(service, record)
    if moved:
        return moved
    for attachment in record.spec.networks:
        if attachment.network not in snapshot.networks:
            return f"its network {attachment.network} is gone"
    for mount in record.spec.mounts:
        if mount.type == "volume" and mount.source not in record.state.anonymous_volumes:
            if mount.source not in snapshot.volumes:
                return f"its volume {mount.source} is gone"
    return ""


def _moved(service: DesiredService, record: ContainerRecord) -> str:
    """Networks and volumes whose name in the engine changed. The hash covers only their names in the model."""
    before = {attachment.network for attachment in record.spec.networks}
    wanted = {attachment.network for attachment in service.container.networks}
    if before != wanted:
        return f"networks: {_shown(' '.join(sorted(before)))} → {_shown(' '.join(sorted(wanted)))}"
    sources = {mount.target: mount.source for mount in record.spec.mounts if mount.type == "volume"}
    for mount in service.container.mounts:
        source = sources.get(mount.target, mount.source)
        if mount.type == "volume" and mount.source and source != mount.source:
            return f"volume at {mount.target}: {_shown(source)} → {_shown(mount.source)}"
    return ""


def summary_text(service: DesiredService) -> str:
    """The value of the label that later tells what changed."""
    return msgspec.json.encode(service.summary, order="sorted").decode()


def _configuration(service: DesiredService, record: ContainerRecord) -> str | None:
    """None when the container's configuration matches its service, otherwise the fields that differ.

    The hash is Docker Compose's: it ignores the contents of copied configs and secrets, and covers keys that do not
    affect a container (`develop`). So where there is a summary, the summary decides.
    """
    same = record.spec.labels.get(labels.HASH) == service.hash
    before = record.spec.labels.get(labels.SUMMARY)
    if not before or not service.summary:
        return None if same else ""
    if before == summary_text(service):
        return None
    return _fields(service, before, contents_only=same)


def _fields(service: DesiredService, summary: str, *, contents_only: bool) -> str | None:
    import json

    try:
        before: dict[str, str] = json.loads(summary)
    except ValueError:
        before = {}
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
        return "nothing"
    return value if len(value) <= 60 else value[:57] + "…"


def _short(image: str) -> str:
    return image.removeprefix("sha256:")[:12]
