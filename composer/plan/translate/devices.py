"""Devices: device nodes of the host, and requests that CDI specifications resolve."""

from __future__ import annotations

import re

from composer.model.device import DeviceRequest as Wanted
from composer.plan.translate.scope import Scope
from engine.spec.container import Device, DeviceRequest

_QUALIFIED = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*=[A-Za-z0-9][\w.:-]*")
"""vendor/class=name (Container Device Interface, SPEC.md)."""


def devices(scope: Scope) -> tuple[Device, ...]:
    found = []
    for index, device in enumerate(scope.service.devices):
        if _QUALIFIED.fullmatch(device.source):
            continue
        if device.permissions.strip("rwm"):
            scope.refuse(("devices", index, "permissions"), f"{device.permissions!r} may only contain r, w and m")
        found.append(
            Device(
                path_on_host=device.source,
                path_in_container=device.target or device.source,
                permissions=device.permissions or "rwm",
            )
        )
    return tuple(found)


def device_requests(scope: Scope) -> tuple[DeviceRequest, ...]:
    service = scope.service
    found = []
    reservations = service.deploy.resources.reservations if service.deploy and service.deploy.resources else None
    for index, wanted in enumerate(reservations.devices if reservations else ()):
        path = ("deploy", "resources", "reservations", "devices", index)
        if not wanted.capabilities:
            scope.refuse(path, "capabilities is required")
        found.append(_request(scope, path, wanted, wanted.capabilities))
    for index, wanted in enumerate(service.gpus):
        found.append(_request(scope, ("gpus", index), wanted, (*wanted.capabilities, "gpu")))
    names = tuple(device.source for device in service.devices if _QUALIFIED.fullmatch(device.source))
    if names:
        found.append(DeviceRequest(driver="cdi", device_ids=names))
    return tuple(found)


def _request(scope: Scope, path: tuple[str | int, ...], wanted: Wanted, capabilities: tuple[str, ...]) -> DeviceRequest:
    if wanted.count and wanted.device_ids:
        scope.refuse(path, "count and device_ids are mutually exclusive")
    return DeviceRequest(
        driver=wanted.driver,
        count=wanted.count if wanted.count or wanted.device_ids else -1,
        device_ids=wanted.device_ids,
        capabilities=tuple(dict.fromkeys(capabilities)),
    )
