"""Names of other groups' containers on a shared network (an external network of two projects). A group's own containers
are in `Names`, in memory. Other containers' addresses are in the database, their further names in their specifications.
"""

from __future__ import annotations

import os

import msgspec
from msgspec import Struct

from engine.paths import SPEC_FILE
from engine.store import Store

_KNOWN = 1000
"""The number of cached specifications."""


class _Attachment(Struct):
    network: str
    aliases: tuple[str, ...] = ()


class _Specification(Struct):
    """The fields of a spec.json that concern names."""

    hostname: str = ""
    networks: tuple[_Attachment, ...] = ()


_decode = msgspec.json.Decoder(_Specification).decode


class Neighbours:
    """The containers of all groups except `group`."""

    def __init__(self, store: Store, group: str) -> None:
        self._store, self._group = store, group
        self._specifications: dict[str, tuple[int, _Specification]] = {}
        """Container id → (modification time of the file, specification)."""

    def addresses(self, network: str, name: str) -> list[str]:
        """Addresses on the network of containers called `name` (in lower case) there."""
        found = []
        rows = self._store.db.execute(
            "SELECT c.id, c.name, c.container_group, a.address FROM addresses a JOIN containers c ON c.id = a.owner"
            " WHERE a.network = ? AND c.container_group != ?",
            (network, self._group),
        )
        for container_id, own, group, address in rows.fetchall():
            if name in (own.lower(), container_id[:12]) or name in self._further(network, container_id, group):
                found.append(address)
        return found

    def name(self, network: str, address: str) -> str | None:
        """The name of the container with this address."""
        row = self._store.db.execute(
            "SELECT c.name FROM addresses a JOIN containers c ON c.id = a.owner"
            " WHERE a.network = ? AND a.address = ? AND c.container_group != ?",
            (network, address, self._group),
        ).fetchone()
        return f"{row[0]}.{network}" if row else None

    def _further(self, network: str, container_id: str, group: str) -> set[str]:
        """Its aliases on the network and its host name; none while it is being removed."""
        path = f"{self._store.roots.container(group, container_id)}/{SPEC_FILE}"
        written, known = self._specifications.get(container_id, (0, None))
        try:
            if known is None or os.stat(path).st_mtime_ns != written:
                with open(path, "rb") as file:
                    written, known = os.fstat(file.fileno()).st_mtime_ns, _decode(file.read())
        except (OSError, msgspec.DecodeError):
            return set()
        if len(self._specifications) >= _KNOWN:
            self._specifications.clear()
        self._specifications[container_id] = written, known
        aliases = {alias.lower() for one in known.networks if one.network == network for alias in one.aliases}
        return aliases | ({known.hostname.lower()} if known.hostname else set())
