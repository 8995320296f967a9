"""services.*.deploy (compose-spec, deploy.md)"""

from __future__ import annotations

from composer.model.device import DeviceRequest
from composer.model.element import Element, Pairs, Words
from composer.model.quantities import Bytes, Duration


class Limits(Element):
    cpus: float = 0.0
    memory: Bytes = 0
    pids: int = 0


class DiscreteResource(Element):
    kind: str = ""
    value: int = 0


class GenericResource(Element):
    discrete_resource_spec: DiscreteResource | None = None


class Reservations(Element):
    cpus: float = 0.0
    memory: Bytes = 0
    pids: int = 0
    generic_resources: tuple[GenericResource, ...] = ()
    devices: tuple[DeviceRequest, ...] = ()


class Resources(Element):
    limits: Limits | None = None
    reservations: Reservations | None = None


class RestartPolicy(Element):
    """`condition`: none, on-failure, any."""

    condition: str = ""
    delay: Duration | None = None
    max_attempts: int | None = None
    window: Duration | None = None


class UpdateConfig(Element):
    parallelism: int | None = None
    delay: Duration | None = None
    failure_action: str = ""
    monitor: Duration | None = None
    max_failure_ratio: float | None = None
    order: str = ""


class Preference(Element):
    spread: str = ""


class Placement(Element):
    constraints: Words = ()
    preferences: tuple[Preference, ...] = ()
    max_replicas_per_node: int | None = None


class Deploy(Element):
    mode: str = ""
    replicas: int | None = None
    labels: Pairs = {}
    resources: Resources | None = None
    restart_policy: RestartPolicy | None = None
    update_config: UpdateConfig | None = None
    rollback_config: UpdateConfig | None = None
    placement: Placement | None = None
    endpoint_mode: str = ""
