"""Watches a group's containers: their logs, their states, their creation and removal."""

from __future__ import annotations

import os
from contextlib import suppress

from engine.errors import OperationFailed
from engine.kernel import inotify
from engine.paths import Roots, make_private

FOLDERS = inotify.IN_CREATE | inotify.IN_DELETE | inotify.IN_MOVED_FROM | inotify.IN_MOVED_TO
FILES = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO


class GroupWatch:
    """Implements composer's `Watch`. A missing directory of the group is created, so that it can be watched."""

    def __init__(self, roots: Roots, group: str) -> None:
        self._folder = f"{roots.groups}/{group}"
        make_private(self._folder)
        self._inotify = inotify.Inotify()
        self._containers: dict[int, str] = {}
        try:
            self._group = self._inotify.add(self._folder, FOLDERS | inotify.IN_ONLYDIR)
            self._take_in()
        except OperationFailed:
            self._inotify.close()
            raise

    def fileno(self) -> int:
        return self._inotify.fileno()

    def read(self) -> set[str]:
        """Ids of changed containers; "" if one was added or removed. Never blocks."""
        news: set[str] = set()
        for number, mask, _ in self._inotify.read():
            if mask & inotify.IN_Q_OVERFLOW:
                news |= {"", *self._containers.values()}
            elif mask & inotify.IN_IGNORED:
                self._containers.pop(number, None)
                if number == self._group:  # the last container's removal removes the group, and a new one may exist
                    news.add("")
                    with suppress(OperationFailed):
                        self._group = self._inotify.add(self._folder, FOLDERS | inotify.IN_ONLYDIR)
            else:
                news.add("" if number == self._group else self._containers.get(number, ""))
        if "" in news:
            news |= self._take_in()
        return news

    def _take_in(self) -> set[str]:
        """Watch directories that are not watched yet; changes before that count as well."""
        known = set(self._containers.values())
        fresh: set[str] = set()
        with suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                if name in known:
                    continue
                # It was removed meanwhile, or is a file.
                with suppress(OperationFailed):
                    self._containers[self._inotify.add(f"{self._folder}/{name}", FILES | inotify.IN_ONLYDIR)] = name
                    fresh.add(name)
        return fresh

    def close(self) -> None:
        self._inotify.close()
