"""Changes the limits and the restart policy of an existing container without recreating it.

The kernel's limits are set first, then spec.json is written. After a crash between the two, the new limits apply until
the container exits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from engine.cgroup import settings
from engine.container import state as files
from engine.errors import EngineError
from engine.session.group import Group
from engine.spec.container import Resources, Restart
from engine.spec.state import ContainerRecord


def change(
    group: Group, container_id: str, resources: Resources, restart: Restart, host_config: Mapping[str, Any]
) -> ContainerRecord:
    """See Changes.limit."""
    record = group.changeable(container_id)
    spec = record.spec
    settings.check(resources)
    if record.state.status.alive and resources != spec.resources:
        try:
            group.cgroups.update(group.name, container_id, spec.resources, resources, parent=spec.cgroup_parent)
        except EngineError:
            group.cgroups.update(group.name, container_id, resources, spec.resources, parent=spec.cgroup_parent)
            raise
    changed = replace(spec, resources=resources, restart=restart, host_config=host_config)
    files.rewrite_spec(group.folder(container_id), changed, record.state)
    group.records[container_id] = replace(record, spec=changed)
    return group.records[container_id]
