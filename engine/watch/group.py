"""Watches the containers of groups: their logs, their states, their creation and removal."""

from __future__ import annotations

import os
from contextlib import suppress

from engine.errors import OperationFailed
from engine.kernel import inotify
from engine.paths import Roots, make_private

FOLDERS = inotify.IN_CREATE | inotify.IN_DELETE | inotify.IN_MOVED_FROM | inotify.IN_MOVED_TO
FILES = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO


class GroupsWatch:
    """Implements composer's `GroupsWatch`: one inotify instance for all groups, because a user has only 128 (inotify(7),
    fs.inotify.max_user_instances)."""

    def __init__(self, roots: Roots) -> None:
        self._folder = roots.groups
        self._inotify = inotify.Inotify()
        self._groups: dict[str, int] = {}
        self._subjects: dict[int, tuple[str, str]] = {}
        """The number of a watch → group and container; "" for the group itself."""

    def fileno(self) -> int:
        return self._inotify.fileno()

    def add(self, group: str) -> None:
        """Watch a group. A missing directory of the group is created, so that it can be watched."""
        if group not in self._groups:
            make_private(f"{self._folder}/{group}")
            self._watch_group(group)
            try:
                self._take_in(group)
            except OperationFailed:
                self.remove(group)
                raise

    def remove(self, group: str) -> None:
        self._groups.pop(group, None)
        for number in [number for number, subject in self._subjects.items() if subject[0] == group]:
            del self._subjects[number]
            self._inotify.remove(number)

    def read(self) -> dict[str, set[str]]:
        """Group → ids of changed containers; "" if one was added or removed, or the group was. Never blocks."""
        changed_containers: dict[str, set[str]] = {}
        for number, mask, _ in self._inotify.read():
            if mask & inotify.IN_Q_OVERFLOW:
                for group, container in self._subjects.values():
                    changed_containers.setdefault(group, {""}).add(container)
                continue
            if number not in self._subjects:
                continue
            group, container = self._subjects[number]
            if not mask & inotify.IN_IGNORED:
                changed_containers.setdefault(group, set()).add(container)
                continue
            del self._subjects[number]
            if self._groups.get(group) == number:  # the last container's removal removes the group
                changed_containers.setdefault(group, set()).add("")
                with suppress(OperationFailed):  # a new one may exist
                    self._watch_group(group)
        for group, changed in changed_containers.items():
            if "" in changed:
                changed |= self._take_in(group)
        return changed_containers

    def _watch_group(self, group: str) -> None:
        number = self._inotify.add(f"{self._folder}/{group}", FOLDERS | inotify.IN_ONLYDIR)
        self._groups[group], self._subjects[number] = number, (group, "")

    def _take_in(self, group: str) -> set[str]:
        """Watch directories that are not watched yet; changes before that count as well."""
        fresh: set[str] = set()
        with suppress(FileNotFoundError):
            for name in os.listdir(f"{self._folder}/{group}"):
                # It was removed meanwhile, or is a file.
                with suppress(OperationFailed):
                    number = self._inotify.add(f"{self._folder}/{group}/{name}", FILES | inotify.IN_ONLYDIR)
                    if number not in self._subjects:
                        self._subjects[number] = (group, name)
                        fresh.add(name)
        return fresh

    def close(self) -> None:
        self._inotify.close()


class GroupWatch:
    """Implements composer's `Watch` for one group."""

    def __init__(self, roots: Roots, group: str) -> None:
        self._group, self._watch = group, GroupsWatch(roots)
        try:
            self._watch.add(group)
        except OperationFailed:
            self._watch.close()
            raise

    def fileno(self) -> int:
        return self._watch.fileno()

    def read(self) -> set[str]:
        """Ids of changed containers; "" if one was added or removed. Never blocks."""
        return self._watch.read().get(self._group, set())

    def close(self) -> None:
        self._watch.close()
