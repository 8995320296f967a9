"""An engine whose containers are files that a test writes: a folder with state and log for each, with a real watch."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from engine.paths import Roots
from engine.spec.container import ContainerSpec
from engine.spec.state import ContainerRecord, ContainerState, Status
from engine.spec.stream import LogEntry
from engine.watch.group import GroupWatch


class Reader:
    def __init__(self, path: Path, since: int, tail: int | None) -> None:
        self._path, self._since, self._place = path, since, 0
        if tail is not None and path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            self._place = sum(map(len, lines[: max(len(lines) - tail, 0)]))

    def read(self) -> list[LogEntry]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._place)
            lines = file.readlines()
        self._place += sum(map(len, lines))
        entries = [LogEntry(*json.loads(line)) for line in lines]
        return [entry for entry in entries if entry.time >= self._since]

    def close(self) -> None:
        pass


class FileEngine:
    def __init__(self, root: Path) -> None:
        self.roots = Roots(str(root), str(root))
        self.folder = root / "groups/shop"
        self.folder.mkdir(parents=True)
        self.watched = threading.Event()

    def put(self, service: str, number: int = 1, *, labels: dict[str, str] | None = None, **state: Any) -> None:
        """Write a container's state, as the supervisor would."""
        all_labels = {
            "com.docker.compose.project": "shop",
            "com.docker.compose.service": service,
            "com.docker.compose.container-number": str(number),
            **(labels or {}),
        }
        spec = ContainerSpec(name=f"shop-{service}-{number}", image="i", labels=all_labels)
        record = ContainerRecord(
            id=f"{service}{number}", group="shop", spec=spec,
            state=ContainerState(**{"status": Status.RUNNING, "started_at": time.time(), **state}),
        )  # fmt: skip
        folder = self.folder / record.id
        folder.mkdir(exist_ok=True)
        (folder / "new").write_bytes(msgspec.json.encode(record))
        (folder / "new").replace(folder / "state.json")

    def write(self, container: str, text: str, *, stream: str = "stdout", at: int | None = None) -> None:
        with (self.folder / container / "json.log").open("a") as file:
            file.write(json.dumps([time.time_ns() if at is None else at, stream, text]) + "\n")

    def remove(self, container: str) -> None:
        for path in (self.folder / container).iterdir():
            path.unlink()
        (self.folder / container).rmdir()

    def groups(self) -> list[str]:
        return ["shop"]

    def find_container(self, name: str) -> ContainerRecord | None:
        every = (record for group in self.groups() for record in self.containers(group))
        return next((record for record in every if name in (record.id, record.spec.name)), None)

    def containers(self, group: str) -> list[ContainerRecord]:
        found = []
        for path in sorted(self.folder.glob("*/state.json")):
            with contextlib.suppress(FileNotFoundError):  # removed since
                found.append(msgspec.json.decode(path.read_bytes(), type=ContainerRecord))
        return found

    def logs(self, group: str, container_id: str, *, since: int = 0, until: int = 0, tail: int | None = None) -> Reader:
        return Reader(self.folder / container_id / "json.log", since, tail)

    def watch(self, group: str) -> GroupWatch:
        watch = GroupWatch(self.roots, group)
        self.watched.set()
        return watch
