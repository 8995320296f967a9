"""Rows of the container list, encoded once: dashboards ask for the same list every second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw, json

from composer.view.container_list import listed
from composer.view.containers import status_text

if TYPE_CHECKING:
    from composer.run.port import Engine
    from engine.spec.state import ContainerRecord

_MOST = 4096


class Rows:
    """The rows of the latest lists."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Engine, ContainerRecord, str, Raw]] = {}

    def row(self, engine: Engine, record: ContainerRecord) -> Raw:
        """The row of a container, as JSON; `engine` is a snapshot."""
        status = status_text(record)
        kept = self._rows.get(record.id)
        if kept is not None:
            same, old, text, row = kept
            if same is engine and old.spec is record.spec and old.state is record.state and text == status:
                return row
        row = Raw(json.encode(listed(engine, record, sizes=False)))
        if len(self._rows) >= _MOST:
            self._rows.clear()
        self._rows[record.id] = engine, record, status, row
        return row
