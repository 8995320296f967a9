"""Changing limits and restart policy of a container, running or not (Docker Engine API 1.55, ContainerUpdate)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs, to_builtins

from composer.plan.labels import AUTOREMOVE
from composer.plan.operations import Update
from composer.serve.docker import body
from composer.serve.docker.create import restart_policy
from composer.serve.docker.create_resources import resources
from composer.serve.http.errors import BadRequest, HTTPError
from composer.serve.http.request import OBJECT, Reply
from composer.serve.supervised import CAUSE, perform
from composer.view import lookup
from engine.spec.container import Resources

if TYPE_CHECKING:
    from collections.abc import Callable

    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server
    from engine.spec.state import ContainerRecord

FIXED = ("cgroup_parent", "cpu_count", "cpu_percent", "cpuset_mems", "device_cgroup_rules", "device_requests", "devices",
         "io_maximum_bandwidth", "io_maximum_iops", "kernel_memory_tcp", "ulimits")  # fmt: skip
"""Limits that cannot be changed after creation."""


class Wanted(body.Limits):
    restart_policy: body.RestartPolicy | None = None


async def update(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Update a container; null, 0 and "" leave a setting unchanged. Raises BadRequest, HTTPError 404, 409."""
    payload, unknown = body.shaped(await request.json(OBJECT) or {}, Wanted)
    record = lookup.container(server.engine, request.arguments["id"])
    change = operation(record, payload, server.access.check_limits)
    await perform(server, record.group, change)
    server.journal.container("update", record)
    return Reply({"Warnings": [f"{field} is not known and was ignored" for field in unknown] or None})


def operation(
    record: ContainerRecord, payload: Wanted, check: Callable[[Resources], None] = lambda limits: None
) -> Update:
    """The change of a container; `check` may refuse its limits. Raises BadRequest, HTTPError 409."""
    for name in FIXED:
        if getattr(payload, name):
            raise BadRequest(f"{name.replace('_', ' ')} cannot be changed: recreate the container")
    restart, policy = record.spec.restart, payload.restart_policy
    if policy is not None and policy.name:
        if record.spec.labels.get(AUTOREMOVE) and policy.name != "no":
            raise _failed(record, "Restart policy cannot be updated because AutoRemove is enabled for the container")
        restart = restart_policy(policy, auto_remove=False)
    limits = resources(payload if payload.memory else structs.replace(payload, memory=record.spec.resources.memory))
    check(limits)
    return Update(
        id=0,
        name=record.spec.name,
        cause=CAUSE,
        container_id=record.id,
        resources=_merged(record, limits),
        restart=restart,
        host_config=_host_config(record, payload),
    )


def _merged(record: ContainerRecord, payload: Resources) -> Resources:
    """The container's limits with the requested changes. Raises HTTPError 409 if they conflict."""
    old, nothing = record.spec.resources, Resources()
    if payload.cpus and (old.cpu_quota or old.cpu_period):
        which = "CPU Quota" if old.cpu_quota else "CPU Period"
        raise _failed(record, f"Conflicting options: Nano CPUs cannot be updated as {which} has already been set")
    if old.cpus and (payload.cpu_quota or payload.cpu_period):
        which = "CPU Quota" if payload.cpu_quota else "CPU Period"
        raise _failed(record, f"Conflicting options: {which} cannot be updated as NanoCPUs has already been set")
    if 0 < old.memory_swap < payload.memory and not payload.memory_swap:
        raise _failed(
            record,
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        )
    changes = {
        name: value for name in payload.__struct_fields__ if (value := getattr(payload, name)) != getattr(nothing, name)
    }
    return structs.replace(old, **changes)


def _host_config(record: ContainerRecord, payload: Wanted) -> dict[str, object]:
    """The HostConfig for inspect, updated; None if the container was not created through the API."""
    if not record.spec.host_config:
        return {}
    new = {name: value for name, value in to_builtins(payload).items() if value}
    return {**record.spec.host_config, **new}


def _failed(record: ContainerRecord, reason: str) -> HTTPError:
    return HTTPError(409, f"Cannot update container {record.id}: {reason}")
