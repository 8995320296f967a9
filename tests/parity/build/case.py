"""Cases as text: many in one file, each with its files beyond the common context.

=== name [--build-arg=NAME=VALUE --target=NAME --label=NAME=VALUE --build-context=NAME=PATH]
the Dockerfile
--- PATH                 what follows, up to the next line that begins with "---" or "===", is that file's content
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from tests.parity.build.world import LONG_AGO


@dataclass
class Case:
    name: str
    dockerfile: str = ""
    files: dict = field(default_factory=dict)
    flags: list = field(default_factory=list)

    def options(self, context):
        """The fields of a BuildSpec. A named context that is a directory of `context` gets its path: builders differ in
        what they take a relative one to be relative to."""
        found = {}
        for flag in self.flags:
            name, _, value = flag.removeprefix("--").partition("=")
            if name == "target":
                found["target"] = value
                continue
            key, _, content = value.partition("=")
            kind = {"build-arg": "args", "label": "labels", "build-context": "additional_contexts"}[name]
            if name == "build-context" and os.path.isdir(f"{context}/{content}"):
                content = f"{context}/{content}"
            found.setdefault(kind, {})[key] = content
        return found

    def write(self, context):
        """Put its files into `context`."""
        for name, content in {**self.files, "Dockerfile": self.dockerfile}.items():
            place = context / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.encode("utf-8", "surrogateescape"))
            os.utime(place, (LONG_AGO, LONG_AGO))
        os.utime(context, (LONG_AGO, LONG_AGO))


def read(path: Path):
    """All cases of a file."""
    cases, part = [], None
    for text in path.read_text().replace("\n", "\n\0").split("\0"):
        if text.startswith("=== "):
            name, *flags = text[4:].split()
            cases.append(Case(name, flags=flags))
            part = None
        elif text.startswith("--- "):
            part = text[4:].strip()
            cases[-1].files[part] = ""
        elif part is None:
            cases[-1].dockerfile += text
        else:
            cases[-1].files[part] += text
    return cases
