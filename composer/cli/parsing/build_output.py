"""`--output` of a build: TYPE and options, as CSV (docs.docker.com, "Exporters overview")."""

from __future__ import annotations

import csv
from collections.abc import Iterable

from composer.cli.errors import InvalidArgument, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TRUE, FALSE = ("1", "t", "true"), ("0", "f", "false")
COMPRESSIONS = {True: ("uncompressed", "gzip", "zstd"), False: ("gzip", "zstd")}
"""Of layers in archives, and in registries."""
_FOLDERS = ("dest", "platform-split")
_IMAGES = ("name", "oci-mediatypes", "compression", "annotation")
_OPTIONS = {
    "local": _FOLDERS,
    "tar": _FOLDERS,
    "oci": ("dest", "tar", *_IMAGES),
    "docker": ("dest", "tar", *_IMAGES),
    "image": ("push", "store", *_IMAGES),
    "registry": _IMAGES,
    "cacheonly": (),
}


class Output:
    """One destination. `dest` "-" is stdout, "" none; `annotations` are those of the option `annotation…`."""

    __slots__ = ("annotations", "dest", "names", "options", "type")

    def __init__(self, type: str, dest: str = "", names: tuple[str, ...] = (), **options: Any) -> None:
        self.type, self.dest, self.names, self.options = type, dest, names, options
        self.annotations: list[tuple[str, str]] = []

    @property
    def is_stored(self) -> bool:
        """Whether the image is added to the store."""
        return self.type in ("image", "registry") or (self.type == "docker" and not self.dest)

    @property
    def is_pushed(self) -> bool:
        return self.type == "registry" or bool(self.options.get("push"))


def parse(texts: Iterable[str], *, push: bool = False, load: bool = False) -> list[Output]:
    """All destinations; the default is the store. Raises UsageError."""
    found = [_one(text) for text in texts]
    if push and not any(one.is_pushed for one in found):
        found.append(Output("registry"))
    if load and not any(one.type == "docker" for one in found):
        found.append(Output("docker"))
    if sum(one.dest == "-" for one in found) > 1:
        raise UsageError("only one output can go to stdout")
    return found or [Output("docker")]


def _one(text: str) -> Output:
    words = next(csv.reader([text]), [])
    if len(words) == 1 and "=" not in words[0]:
        return Output("tar", "-") if words[0] == "-" else Output("local", words[0])
    options: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise InvalidArgument(text, "--output", f"invalid value {word!r}: KEY=VALUE")
        options[key.strip().lower() if not key.startswith("annotation") else key] = value
    kind = options.pop("type", "")
    if not kind:
        raise InvalidArgument(text, "--output", "type is required")
    if kind not in _OPTIONS:
        raise UsageError(f'exporter "{kind}" could not be found: it is one of {", ".join(_OPTIONS)}')
    return _checked(text, kind, options)


def _checked(text: str, kind: str, options: dict[str, str]) -> Output:
    dest = options.pop("dest", "")
    if kind in ("local", "tar", "oci") and not dest:
        if kind == "local":
            raise UsageError("dest is required for local exporter")
        dest = "-"
    if kind == "local" and dest == "-":
        raise UsageError("dest cannot be stdout for local exporter")
    output = Output(kind, dest, tuple(name for name in options.pop("name", "").split(",") if name))
    for key, value in options.items():
        if (match := key.removeprefix("annotation")) != key and "annotation" in _OPTIONS[kind]:
            output.annotations.append((_annotated(match), value))
        elif key not in _OPTIONS[kind] or key == "annotation":
            raise InvalidArgument(text, "--output", f"{key} is not supported for type={kind}")
        elif key == "compression":
            if value not in COMPRESSIONS[kind in ("oci", "docker")]:
                known = ", ".join(COMPRESSIONS[kind in ("oci", "docker")])
                raise UsageError(f"compression={value} is not supported for type={kind}: {known}")
            output.options[key] = "" if value == "uncompressed" else value
        elif key == "oci-mediatypes":
            if _truth(key, value) is False:
                raise UsageError("oci-mediatypes=false is not supported: images are OCI images")
        else:
            output.options[key.replace("-", "_")] = _truth(key, value)
    if not output.options.get("store", True):
        raise UsageError("store=false is not supported: use type=oci or type=cacheonly")
    return output


def _annotated(key: str) -> str:
    """`.KEY`, `-index.KEY`, `-manifest[PLATFORM].KEY` … in the form of --annotation."""
    level, _, name = key.partition(".")
    return f"{level.removeprefix('-')}:{name}" if level else name


def _truth(key: str, value: str) -> bool:
    if value.lower() in TRUE:
        return True
    if value.lower() in FALSE:
        return False
    raise UsageError(f'invalid value "{value}" for {key} of --output: true or false')
