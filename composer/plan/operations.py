"""A plan: operations with causes and dependencies. It prints deterministically, one line an operation."""

import enum

from msgspec import Struct

from composer.plan.desired import DesiredService
from engine.spec.network import NetworkSpec, VolumeSpec


class Kind(enum.Enum):
    CREATE_NETWORK = "create network"
    REMOVE_NETWORK = "remove network"
    CREATE_VOLUME = "create volume"
    REMOVE_VOLUME = "remove volume"
    CREATE = "create container"
    RECREATE = "recreate container"
    START = "start container"
    STOP = "stop container"
    RESTART = "restart container"
    KILL = "kill container"
    PAUSE = "pause container"
    UNPAUSE = "unpause container"
    REMOVE = "remove container"
    WAIT = "wait for container"


class Operation(Struct, kw_only=True, omit_defaults=True):
    """One step. `after` are the ids of operations that must have succeeded first.

    `name` is the container's, network's or volume's. `container_id` is set where the container exists already; START of a
    container that this plan creates finds it by its name. WAIT's `condition` is healthy, completed or running.
    """

    id: int
    kind: Kind
    name: str
    cause: str
    after: tuple[int, ...] = ()
    service: DesiredService | None = None
    service_name: str = ""
    number: int = 0
    container_id: str = ""
    network: NetworkSpec | None = None
    volume: VolumeSpec | None = None
    condition: str = ""
    required: bool = True
    timeout: float | None = None
    signal: str = ""
    volumes: bool = False
    force: bool = False
    renew_volumes: bool = False
    suspend: bool = False

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}: {self.cause}"


class Plan(Struct, kw_only=True, omit_defaults=True):
    """`unchanged` are containers that stay as they are; `warnings` are for the user."""

    operations: list[Operation] = []
    unchanged: list[str] = []
    warnings: list[str] = []

    def __str__(self) -> str:
        return "".join(f"{operation}\n" for operation in self.operations)

    def add(self, kind: Kind, name: str, cause: str, **fields: object) -> Operation:
        operation = Operation(id=len(self.operations), kind=kind, name=name, cause=cause, **fields)  # type: ignore[arg-type]
        self.operations.append(operation)
        return operation
