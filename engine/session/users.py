"""Who uses a volume, in all groups."""

from __future__ import annotations

import os

from engine.container import state as files
from engine.paths import Roots
from engine.volume.store import users


def volume_users(roots: Roots, name: str) -> list[str]:
    """Ids of the containers, of any group, that mount the volume."""
    try:
        groups = os.listdir(roots.groups)
    except FileNotFoundError:
        return []
    records = [record for group in groups for record in files.every(roots, group)]
    return users([(record.id, record.spec) for record in records], name)
