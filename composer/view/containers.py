"""A container as `docker ps` shows it: its status, its command, its ports; shared by commands and the Docker API."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from composer.view.units import human_duration
from engine.spec.state import ContainerRecord, Status

if TYPE_CHECKING:
    from engine.spec.container import PortBinding
    from engine.spec.image import ImageConfig

_PORTS = re.compile("([0-9]{1,5})(?:-([0-9]{1,5}))?")


def status_text(record: ContainerRecord, now: float = 0.0) -> str:
    """The STATUS column: `Up 3 seconds (healthy)`, `Exited (137) 2 minutes ago`, `Created` …"""
    state, now = record.state, now or time.time()
    if state.status in (Status.RUNNING, Status.PAUSED):
        text = f"Up {human_duration(now - state.started_at)}"
        if state.status is Status.PAUSED:
            return f"{text} (Paused)"
        if state.health is not None:
            status = state.health.status
            text += f" ({f'health: {status}' if status == 'starting' else status})"
        return text
    memory = ", out of memory" if state.oom_killed else ""
    if state.status is Status.RESTARTING:
        return f"Restarting ({state.exit_code}) {human_duration(now - state.finished_at)} ago{memory}"
    if state.status is Status.REMOVING:
        return "Removal In Progress"
    if state.status is Status.DEAD:
        return "Dead"
    if state.status is Status.CREATED or not state.started_at:
        return "Created"
    return f"Exited ({state.exit_code}) {human_duration(now - state.finished_at)} ago{memory}"


def command_text(record: ContainerRecord, image: ImageConfig | None) -> str:
    """Entrypoint and command in one line, arguments with spaces in single quotes."""
    spec = record.spec
    entrypoint = spec.entrypoint if spec.entrypoint is not None else (image.entrypoint if image else ())
    command = spec.command
    if command is None:
        command = image.command if image is not None and spec.entrypoint is None else ()
    return " ".join(f"'{word}'" if " " in word else word for word in (*entrypoint, *command))


class Publisher:
    """One row of a container's ports: published (`url`, `published`) or only exposed (0)."""

    __slots__ = ("protocol", "published", "target", "url")

    def __init__(self, url: str, target: int, published: int, protocol: str) -> None:
        self.url, self.target, self.published, self.protocol = url, target, published, protocol

    @property
    def key(self) -> tuple[int, str, int, str]:
        return (self.target, self.url, self.published, self.protocol)


def _range(text: str) -> range:
    """The ports of `80` or `80-82`; none for any other text, which the API accepts as an exposed port."""
    found = _PORTS.fullmatch(text)
    return range(int(found[1]), min(int(found[2] or found[1]), 65535) + 1) if found else range(0)


def publishers(record: ContainerRecord, image: ImageConfig | None) -> list[Publisher]:
    """Published and exposed ports of a running container, sorted by container port; none if it does not run."""
    if not record.state.status.alive:
        return []
    rows = [row for binding in record.state.ports for row in _published(binding)]
    taken = {(row.target, row.protocol) for row in rows}
    for text in (*record.spec.expose, *(image.exposed_ports if image else ())):
        ports, _, protocol = text.partition("/")
        for port in _range(ports):
            if (port, protocol or "tcp") not in taken:
                taken.add((port, protocol or "tcp"))
                rows.append(Publisher("", port, 0, protocol or "tcp"))
    return sorted(rows, key=lambda row: row.key)


def _published(binding: PortBinding) -> list[Publisher]:
    hosts = [binding.host_ip] if binding.host_ip else ["0.0.0.0", "::"]
    port = int(binding.host_port or 0)
    return [Publisher(host, binding.container_port, port, binding.protocol) for host in hosts]


def ports_text(rows: Iterable[Publisher]) -> str:
    """The PORTS column. Adjacent ports that are equal inside and outside form ranges; remapped ports come last."""
    groups: dict[tuple[str, str], list[list[int]]] = {}
    mapped: list[str] = []
    for row in sorted(rows, key=lambda row: row.key):
        if row.url and row.published != row.target:
            mapped.append(f"{_host(row.url)}:{row.published}->{row.target}/{row.protocol}")
            continue
        runs = groups.setdefault((row.url, row.protocol), [])
        if runs and row.target == runs[-1][1] + 1:
            runs[-1][1] = row.target
        else:
            runs.append([row.target, row.target])
    earlier = [_run(key, run) for key, runs in groups.items() for run in runs[:-1]]
    return ", ".join([*earlier, *(_run(key, runs[-1]) for key, runs in groups.items()), *mapped])


def _run(key: tuple[str, str], run: list[int]) -> str:
    ports = str(run[0]) if run[0] == run[1] else f"{run[0]}-{run[1]}"
    return f"{_host(key[0])}:{ports}->{ports}/{key[1]}" if key[0] else f"{ports}/{key[1]}"


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
