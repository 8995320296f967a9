"""Read env_file into `environment` and label_file into `labels`. The service's own entries win over the files'."""

from __future__ import annotations

import os
import stat

from composer.load.errors import LoadError
from composer.load.keys import ELEMENTS
from composer.load.notice import UNSET, Notice
from composer.load.read import dotenv
from composer.load.tree.nodes import Map, dotted, origin_at

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from composer.load.options import Inputs
    from composer.load.tree.nodes import Path


class Files:
    """Reads the files of a project's services. A file that cannot be read is an error at the entry that names it."""

    def __init__(self, tree: Map, environment: Mapping[str, str], inputs: Inputs, warn: Callable[[str], None]) -> None:
        self.tree, self.environment, self.inputs, self.warn = tree, environment, inputs, warn
        self.errors: list[tuple[str, LoadError]] = []
        """Pairs of service name and error."""

    def resolve(self, section: str, name: str, *, environment: bool = True) -> None:
        """Replace label_file of a service or job, and with `environment` also env_file, by their contents."""
        service = self.tree[section][name]
        self._section, self._service = section, name
        before = set(service)
        if environment:
            self._environment(name, service)
        self._labels(name, service)
        if service.keys() - before:
            ELEMENTS[section].arrange(service)

    def _environment(self, name: str, service: Any) -> None:
        files = service.pop("env_file", ())
        own = service.get("environment")
        if own:
            for key, value in own.items():
                if value is None and key in self.environment:
                    own[key] = self.environment[key]
        if not files:
            return
        own = own or Map()
        set_here = {key: value for key, value in own.items() if value is not None}
        lookup = dotenv.Layered(self.environment, set_here)
        found = dict(set_here)
        places: dict[str, Any] = {}
        for index, file in enumerate(files):
            form = file.get("format", "")
            place: Path = (self._section, name, "env_file", index)
            if form not in ("", ".env", "raw"):
                self._wrong(
                    place, f"unsupported env_file format {form!r}", "write raw, or nothing for the format of .env"
                )
                continue
            places |= self._read(
                "env file",
                file.get("path", ""),
                found,
                lookup,
                place,
                required=file.get("required", True),
                raw=form == "raw",
            )
        for key in own:
            found[key] = own[key]
        if found:
            service["environment"] = _sorted(found, {**places, **own.origins})

    def _labels(self, name: str, service: Any) -> None:
        files = service.pop("label_file", ())
        if not files:
            return
        found: dict[str, str] = {}
        places: dict[str, Any] = {}
        for index, path in enumerate(files):
            before = dict(found)
            place: Path = (self._section, name, "label_file", index)
            places |= self._read("label file", path, found, before, place, required=True, raw=False)
        own = service.get("labels") or Map()
        found.update(own)
        if found:
            service["labels"] = _sorted(found, {**places, **own.origins})

    def _read(
        self,
        kind: str,
        path: str,
        into: dict[str, str],
        lookup: Mapping[str, str],
        place: Path,
        *,
        required: bool,
        raw: bool,
    ) -> dict[str, Any]:
        self.inputs.note(path)
        try:
            if stat.S_ISFIFO(os.stat(path).st_mode):
                self._wrong(place, f"{kind} {path} is a pipe")
                return {}
            if raw:
                return dotenv.read_raw(path, into, lookup)
            return dotenv.read(path, into, lookup, self._missing)
        except FileNotFoundError:
            if required:
                self._wrong(place, f"{kind} {path} not found", "write required: false when it may be missing")
        except OSError as error:
            self._wrong(place, f"{kind} {path}: {(error.strerror or str(error)).lower()}")
        except LoadError as error:
            self.errors.append((self._service, error))
        return {}

    def _missing(self, name: str) -> None:
        self.warn(Notice(f'The "{name}" variable is not set. Defaulting to a blank string.', UNSET))

    def _wrong(self, place: Path, message: str, hint: str = "") -> None:
        origin = origin_at(self.tree, place)
        self.errors.append((self._service, LoadError(f"{dotted(place[:3])}: {message}", origin, hint)))


def _sorted(entries: dict[str, Any], origins: dict[str, Any]) -> Map:
    return Map({key: entries[key] for key in sorted(entries)}, {k: v for k, v in origins.items() if k in entries})
