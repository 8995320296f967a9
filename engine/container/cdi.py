"""Devices described by vendors' files (Container Device Interface, SPEC.md).

`gpus` and reserved devices of `deploy` are resolved with these files as well: "gpu" is the class, the driver the
vendor.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from engine.bounded_read import MIB, read_bytes
from engine.errors import InvalidSpec, NotFound, Unsupported
from engine.spec.container import ContainerSpec, DeviceRequest

if TYPE_CHECKING:
    from engine.container.cdiedits import Edits

FOLDERS = ("/etc/cdi", "/run/cdi", "/var/run/cdi")
"""Later directories take precedence."""

_PREFERRED = ("nvidia.com", "amd.com", "intel.com")

Described = tuple[str, "Edits"]
"""A file, and edits that it contains."""


class Devices:
    """The devices in the directories: kind (vendor/class) → name → edits, those of the kind first."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, list[Described]]] = {}
        import glob

        for folder in FOLDERS:
            for path in sorted(glob.glob(f"{folder}/*.json") + glob.glob(f"{folder}/*.y*ml")):
                self._read(path)

    def _read(self, path: str) -> None:
        try:
            text = read_bytes(path, 16 * MIB, "a CDI specification").decode()
            if path.endswith(".json"):
                found = json.loads(text)
            else:
                import yaml

                found = yaml.safe_load(text)
            general = found.get("containerEdits") or {}
            names = {
                one["name"]: [(path, general), (path, one.get("containerEdits") or {})] for one in found["devices"]
            }
            self._kinds.setdefault(found["kind"], {}).update(names)
        except Exception as error:
            raise InvalidSpec(f"CDI specification {path}: {type(error).__name__}: {error}") from error

    def edits(self, request: DeviceRequest) -> list[Described]:
        """The edits that satisfy the request. Raises NotFound and Unsupported."""
        if request.driver == "cdi":
            found = []
            for qualified in request.device_ids:
                kind, _, name = qualified.partition("=")
                found += self._device(kind, name)
            return found
        kind = self._kind(request)
        there = self._kinds[kind]
        names = list(request.device_ids)
        if not names and request.count < 0:
            names = ["all"] if "all" in there else sorted(there)
        elif not names:
            names = sorted(name for name in there if name != "all")[: request.count]
            if len(names) < request.count:
                raise NotFound("device", kind, hint=f"{request.count} were requested, {len(names)} exist.")
        return [edit for name in names for edit in self._device(kind, name)]

    def _kind(self, request: DeviceRequest) -> str:
        for kind in sorted(self._kinds, key=_rank):
            vendor, _, group = kind.partition("/")
            if group in request.capabilities and request.driver in ("", vendor, vendor.partition(".")[0]):
                return kind
        wanted = ", ".join(request.capabilities)
        raise Unsupported(
            f'could not select device driver "{request.driver}" with capabilities: [[{wanted}]]',
            hint=f"No CDI specification in {', '.join(FOLDERS)} describes such a device.",
        )

    def _device(self, kind: str, name: str) -> list[Described]:
        try:
            return self._kinds[kind][name]
        except KeyError:
            known = [f"{kind}={name}" for kind, names in sorted(self._kinds.items()) for name in sorted(names)]
            hint = f"Known: {', '.join(known)}." if known else f"There is no CDI specification in {', '.join(FOLDERS)}."
            raise NotFound("CDI device", f"{kind}={name}", hint=hint) from None


def _rank(kind: str) -> tuple[int, str]:
    """The order of vendors for a request that names none."""
    vendor = kind.partition("/")[0]
    return _PREFERRED.index(vendor) if vendor in _PREFERRED else len(_PREFERRED), kind


def applied(spec: ContainerSpec) -> ContainerSpec:
    """The specification with the edits of its device requests. Raises NotFound, Unsupported and InvalidSpec."""
    if not spec.device_requests:
        return spec
    from engine.container.cdiedits import edited

    devices = Devices()
    seen: list[Described] = []
    for request in spec.device_requests:
        for described in devices.edits(request):
            path, edits = described
            if edits and described not in seen:
                seen.append(described)
                spec = edited(spec, path, edits)
    return spec
