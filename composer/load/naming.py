"""The project name in a project's files."""

from __future__ import annotations

import re

from composer.load.errors import LoadError
from composer.load.options import Environment
from composer.load.read.interpolation.expressions import TemplateError, substitute

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.load.merge.layers import Reading
    from composer.load.options import Loaded, LoadOptions
    from composer.load.read.sources import Sources


def name_in_files(options: LoadOptions, found: Sources, loaded: Loaded, reading: Reading | None) -> str:
    """The last `name:` of the files after interpolation, or ""."""
    from composer.load.merge.layers import Reading

    reading = reading or Reading(options, loaded.inputs, loaded.warnings.append, "")
    name = ""
    for index, file in enumerate(found.files):
        if _MAYBE.search(reading.content(file)):
            name = _name(reading, file, "override" if index else "file") or name
    if "$" not in name or not options.interpolate:
        return name
    try:
        return substitute(name, Environment(found.environment, loaded.inputs))
    except TemplateError as error:
        raise LoadError(f"name: {error}", found.files[-1]) from error


_MAYBE = re.compile(rb"""^["']?name["']?[ \t]*:|^[ \t]*[{?]|\A\xff\xfe|\A\xfe\xff""", re.MULTILINE)
"""A file that does not match this has no top-level `name`."""


def _name(reading: Reading, file: str, layer: str) -> str:
    """The top-level `name` of the last document that has one."""
    try:
        found = [document.root.get("name") for document in reading.peek(file, layer)]
    except LoadError:
        return ""  # errors are reported later, when the whole file is read
    names = [str(name) for name in found if isinstance(name, (str, int)) and name != ""]
    return names[-1] if names else ""
