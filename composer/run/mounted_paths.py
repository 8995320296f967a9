"""Refuses to create containers whose bind mounts the command sees differently than the processes that make them.

The supervisor and the keeper keep the mount namespace of the command that started them. A later command in another
one (`unshare --mount`, PrivateTmp= of systemd) may have other files at the same paths.
"""

from __future__ import annotations

import os

from composer.plan.operations import Create, Make, Plan
from engine import control
from engine.errors import WrongState
from engine.mount_view import first_difference

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from engine.paths import Roots
    from engine.spec.container import ContainerSpec


def check(roots: Roots, project: str, plan: Plan, oneoff: ContainerSpec | None, command: socket.socket | None) -> None:
    """`oneoff`: a container in addition to the plan; `command`: the connection of the command. Raises WrongState."""
    created = list(_created(plan, oneoff))
    paths = list(dict.fromkeys(_sources(created)))
    if command is not None and created:
        _compare(control.peer(command)[0], [roots.state, *paths], "this command", os.getpid())
    if not paths:
        return
    try:
        with control.connect(roots.keeper_socket(project)) as sock:
            pid = control.peer(sock)[0]
    except OSError:
        return  # there is none yet: it will be our child
    _compare(pid, paths, "the supervisor of the project", pid)


def _compare(other: int, paths: list[str], one: str, holder: int) -> None:
    if path := first_difference(other, paths):
        raise WrongState(
            f"{path} is not the same file for {one} as for process {holder}, which runs the project's containers: they"
            " are in different mount namespaces",
            hint="Run composer where the project was started, or run composer down there first.",
        )


def _created(plan: Plan, oneoff: ContainerSpec | None) -> Iterable[ContainerSpec]:
    for operation in plan.operations:
        if isinstance(operation, Create):
            yield operation.service.container
        elif isinstance(operation, Make):
            yield operation.spec
    if oneoff is not None:
        yield oneoff


def _sources(specs: Iterable[ContainerSpec]) -> Iterable[str]:
    for spec in specs:
        for mount in spec.mounts:
            if mount.type in ("bind", "file") and mount.content is None and mount.source:
                yield mount.source
