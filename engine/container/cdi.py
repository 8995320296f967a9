"""Devices that a vendor's files describe (Container Device Interface, SPEC.md): what a container gets with each.

gpus, and devices that deploy reserves, are answered from these files, too: "gpu" is the class, the driver the vendor.
Hooks, programs that a runtime would run while it makes the container, are not run: a device that has some is refused.
"""

from __future__ import annotations

import glob
import json
from typing import Any

import msgspec

from engine.errors import InvalidSpec, NotFound, Unsupported
from engine.spec.container import ContainerSpec, Device, DeviceRequest, Mount

FOLDERS = ("/etc/cdi", "/run/cdi", "/var/run/cdi")
"""Later ones come before earlier ones."""

_PREFERRED = ("nvidia.com", "amd.com", "intel.com")
_EDITS = ("env", "deviceNodes", "mounts", "additionalGids")
_PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave")

Edits = dict[str, Any]


class Devices:
    """What the folders describe: kind (vendor/class) → name → its edits, the kind's own first."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, list[Edits]]] = {}
        for folder in FOLDERS:
            for path in sorted(glob.glob(f"{folder}/*.json") + glob.glob(f"{folder}/*.y*ml")):
                self._read(path)

    def _read(self, path: str) -> None:
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
            if path.endswith(".json"):
                found = json.loads(text)
            else:
                import yaml

                found = yaml.safe_load(text)
            general = found.get("containerEdits") or {}
            names = {one["name"]: [general, one.get("containerEdits") or {}] for one in found["devices"]}
            self._kinds.setdefault(found["kind"], {}).update(names)
        except Exception as error:
            raise InvalidSpec(f"CDI specification {path}: {type(error).__name__}: {error}") from error

    def edits(self, request: DeviceRequest) -> list[Edits]:
        """What fulfils the request. Raises NotFound and Unsupported."""
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
                raise NotFound("device", kind, hint=f"{request.count} are asked for, there are {len(names)}.")
        return [edit for name in names for edit in self._device(kind, name)]

    def _kind(self, request: DeviceRequest) -> str:
        for kind in sorted(self._kinds, key=_rank):
            vendor, _, group = kind.partition("/")
            if group in request.capabilities and request.driver in ("", vendor, vendor.partition(".")[0]):
                return kind
        wanted = ", ".join(request.capabilities)
        raise Unsupported(
            f"could not select device driver {request.driver!r} with capabilities: [[{wanted}]]",
            hint=f"No CDI specification in {', '.join(FOLDERS)} describes such a device.",
        )

    def _device(self, kind: str, name: str) -> list[Edits]:
        try:
            return self._kinds[kind][name]
        except KeyError:
            known = [f"{kind}={name}" for kind, names in sorted(self._kinds.items()) for name in sorted(names)]
            hint = f"Known: {', '.join(known)}." if known else f"There is no CDI specification in {', '.join(FOLDERS)}."
            raise NotFound("CDI device", f"{kind}={name}", hint=hint) from None


def _rank(kind: str) -> tuple[int, str]:
    """Which vendor is meant by a request that names none."""
    vendor = kind.partition("/")[0]
    return _PREFERRED.index(vendor) if vendor in _PREFERRED else len(_PREFERRED), kind


def applied(spec: ContainerSpec) -> ContainerSpec:
    """The specification with what its device requests bring. Raises NotFound, Unsupported and InvalidSpec."""
    if not spec.device_requests:
        return spec
    devices = Devices()
    seen: list[Edits] = []
    for request in spec.device_requests:
        for edit in devices.edits(request):
            if edit and edit not in seen:
                seen.append(edit)
                spec = _edited(spec, edit)
    return spec


def _edited(spec: ContainerSpec, edit: Edits) -> ContainerSpec:
    if hooks := edit.get("hooks"):
        raise Unsupported(
            f"a CDI device of {spec.name} needs the hook {hooks[0].get('path')}, and hooks are not run",
            hint="Remove the device, or describe it without hooks.",
        )
    if unknown := [key for key, value in edit.items() if value and key not in _EDITS]:
        raise Unsupported(f"a CDI device of {spec.name} needs {unknown[0]}, which is not supported")
    nodes = [
        Device(
            path_on_host=node.get("hostPath") or node["path"],
            path_in_container=node["path"],
            permissions=node.get("permissions") or "rwm",
        )
        for node in edit.get("deviceNodes") or ()
    ]
    mounts = [
        Mount(
            type="bind",
            source=mount["hostPath"],
            target=mount["containerPath"],
            read_only="ro" in (mount.get("options") or ()),
            propagation=next((one for one in mount.get("options") or () if one in _PROPAGATION), ""),
            create_host_path=False,
        )
        for mount in edit.get("mounts") or ()
    ]
    variables = dict(pair.partition("=")[::2] for pair in edit.get("env") or ())
    return msgspec.structs.replace(
        spec,
        devices=(*spec.devices, *nodes),
        mounts=(*spec.mounts, *mounts),
        environment={**spec.environment, **variables},
        group_add=(*spec.group_add, *(str(gid) for gid in edit.get("additionalGids") or ())),
    )
