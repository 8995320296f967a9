"""Updates containers that use the host's resolvers, such as those with `network_mode: host`, when the host's
/etc/resolv.conf changes. Other containers query our own server, which reads the file itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from engine.container import own_files
from engine.errors import OperationFailed
from engine.kernel import inotify
from engine.net import dnsforward
from engine.readable import Readable
from engine.spec.state import ContainerRecord

_MASK = inotify.IN_CLOSE_WRITE | inotify.IN_MOVED_TO | inotify.IN_CREATE
_NAME = "resolv.conf"
"""In a container's run directory: the text that we last wrote into its file, for the next supervisor."""


class HostResolvers:
    """`text` returns the text that a container's file should have, None if it names our own server; `record` the
    current record of the container, None if it does not run; `folder` its run directory."""

    def __init__(
        self,
        text: Callable[[ContainerRecord], str | None],
        record: Callable[[str], ContainerRecord | None],
        folder: Callable[[str], str],
    ) -> None:
        self._text, self._record, self._folder = text, record, folder
        self._written: dict[str, str] = {}
        self._notices: inotify.Inotify | None = None
        self._watching: Readable | None = None

    def follow(self, record: ContainerRecord, written: str | None = None) -> None:
        """Begin with a running container whose file has the text `written`; None for the text of an earlier
        supervisor."""
        if written is None:
            with contextlib.suppress(OSError), open(self._path(record.id), encoding="utf-8") as file:
                self._written[record.id] = file.read()
                self._watch()
                self._update()
            return
        self._note(record.id, written)
        self._watch()

    def leave(self, container_id: str) -> None:
        if self._written.pop(container_id, None) is not None and not self._written:
            self.close()

    def close(self) -> None:
        if self._watching is not None:
            self._watching.close()
        self._notices = self._watching = None

    def _path(self, container_id: str) -> str:
        return f"{self._folder(container_id)}/{_NAME}"

    def _note(self, container_id: str, text: str) -> None:
        self._written[container_id] = text
        with contextlib.suppress(OSError), open(self._path(container_id), "w", encoding="utf-8") as file:
            file.write(text)

    def _watch(self) -> None:
        """Watch the directory of the file, and that of the file that it links to (systemd-resolved, NetworkManager); and
        the file itself, which may be mounted from another directory (where composer runs in a container)."""
        try:
            if self._notices is None:
                self._notices = inotify.Inotify()
                self._watching = Readable(self._notices, self._changed)
            for path in {dnsforward.RESOLV_CONF, os.path.realpath(dnsforward.RESOLV_CONF)}:
                self._notices.add(os.path.dirname(path), _MASK | inotify.IN_ONLYDIR)
            if os.path.exists(dnsforward.RESOLV_CONF):
                self._notices.add(dnsforward.RESOLV_CONF, inotify.IN_CLOSE_WRITE)
        except OperationFailed:
            pass  # no watches left, or no such directory: they keep their text, as with Docker

    def _changed(self) -> None:
        if self._notices is None:
            return
        names = {os.path.basename(path) for path in (dnsforward.RESOLV_CONF, os.path.realpath(dnsforward.RESOLV_CONF))}
        names.add("")  # the file itself
        read = [(mask, name) for _, mask, name in self._notices.read() if not mask & inotify.IN_IGNORED]
        events = [mask for mask, name in read if name in names or mask & inotify.IN_Q_OVERFLOW]
        # A file that has just been created is still empty; a link is not.
        if any(mask != inotify.IN_CREATE or os.path.islink(dnsforward.RESOLV_CONF) for mask in events):
            self._watch()  # the link may have changed
            self._update()

    def _update(self) -> None:
        for container_id, before in list(self._written.items()):
            record = self._record(container_id)
            if record is None or (text := self._text(record)) in (None, before):
                continue
            assert text is not None
            own_files.replace_resolv_conf(record, before, text)
            self._note(container_id, text)
