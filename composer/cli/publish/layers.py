"""The files of a published project, in merge order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from composer.cli.publish.source import read
from composer.load.read.content import read_bytes
from composer.load.read.oci import COMPOSE_FILE, ENV_FILE, EXTENDED, NAMED, NAMED_ENV, VERSION
from composer.release import COMPOSE
from engine.spec.artifact import ArtifactFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from composer.cli.publish.source import Source

STDIN = "-"


class Files:
    """A project's compose files, and the files that their services extend, in their published form.

    sources               absolute path → the file, in the order in which they were found
    main                  the paths of the project's own files
    """

    def __init__(self, main: Iterable[str], environment: Mapping[str, str], streams: Mapping[str, bytes]) -> None:
        self.main = tuple(main)
        self.sources: dict[str, Source] = {}
        waiting = list(self.main)
        while waiting:
            path = waiting.pop(0)
            if path not in self.sources:
                content = streams[path] if path in streams else read_bytes(path)
                self.sources[path] = read(path, content, environment)
                waiting += self.sources[path].extended

    @property
    def included(self) -> tuple[str, ...]:
        """The local files that the project's files include."""
        return tuple(name for source in self.sources.values() for name in source.included)

    def layers(self, *, env_files: bool, digests: bytes) -> list[ArtifactFile]:
        """All files of the artifact; `digests` is a further one that pins images, b"" for none. Raises OSError."""
        names = {path: name for source in self.sources.values() for path, name in source.extended.items()}
        found = [
            _compose_file("compose.yaml" if path == STDIN else path, self.sources[path].content) for path in self.main
        ]
        found += [_compose_file(name, self.sources[path].content, extended=True) for path, name in names.items()]
        wanted = {path: name for source in self.sources.values() for path, name in source.env_files.items()}
        for path, name in wanted.items() if env_files else ():
            with open(path, "rb") as file:
                annotations = {VERSION: COMPOSE, NAMED_ENV: name}
                found.append(ArtifactFile(media_type=ENV_FILE, annotations=annotations, content=file.read()))
        if digests:
            found.append(_compose_file("image-digests.yaml", digests))
        return found


def _compose_file(path: str, content: bytes, *, extended: bool = False) -> ArtifactFile:
    annotations = {VERSION: COMPOSE, NAMED: path.rpartition("/")[2], **({EXTENDED: "true"} if extended else {})}
    return ArtifactFile(media_type=COMPOSE_FILE, annotations=annotations, content=content)
