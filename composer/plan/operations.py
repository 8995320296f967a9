"""A plan: operations with causes and dependencies. It prints deterministically, one line an operation.

Each operation is one call of the engine: it is done or it is not. What takes several, such as replacing a container, is
several operations (`replacement.py`); `part` then names the whole, which is what a reader of the progress sees.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from msgspec import Struct

from composer.plan.desired import Desired, DesiredJob, DesiredService
from engine.spec.container import Attachment, ContainerSpec, Resources, Restart
from engine.spec.network import NetworkSpec, VolumeSpec

RECREATE, RESTART = "recreate", "restart"
"""What an operation may be part of."""


class Operation(Struct, kw_only=True, omit_defaults=True, tag_field="kind"):
    """One step. `after` are the ids of operations that must have succeeded first.

    `name` is the container's, network's or volume's, as it is when all is done.
    """

    id: int
    name: str
    cause: str
    after: tuple[int, ...] = ()
    service_name: str = ""
    part: str = ""

    @property
    def kind(self) -> str:
        """What it does, in words: "create container"."""
        return str(self.__struct_config__.tag)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.cause}"


class CreateNetwork(Operation, kw_only=True, tag="create network"):
    network: NetworkSpec


class RemoveNetwork(Operation, kw_only=True, tag="remove network"):
    pass


class CreateVolume(Operation, kw_only=True, tag="create volume"):
    volume: VolumeSpec


class RemoveVolume(Operation, kw_only=True, tag="remove volume"):
    pass


class Create(Operation, kw_only=True, tag="create container"):
    """Container `number` of the service. `replaces` is the id of the container whose place it takes: until that one is
    gone it has a temporary name; it takes over the anonymous volumes unless `renew_volumes`."""

    service: DesiredService
    number: int
    replaces: str = ""
    renew_volumes: bool = False


class Make(Operation, kw_only=True, tag="make container"):
    """A container of no service, as it is specified: one that a client of the Docker API asks for."""

    spec: ContainerSpec


class Start(Operation, kw_only=True, tag="start container"):
    """`container_id` is "" for a container that this plan creates: it is found by its name."""

    container_id: str = ""
    service: DesiredService | None = None


class PreStartHooks(Operation, kw_only=True, tag="run pre_start hooks"):
    """The service's pre_start hooks, one after the other, each to its end. `name` is the first container that they prepare."""

    service: DesiredService


class Stop(Operation, kw_only=True, tag="stop container"):
    """`timeout`: seconds until SIGKILL, None for the container's own, infinite for never. `signal`: other than the
    container's own. `returns`: the plan starts it again. `suspend`: as a machine that goes down stops it."""

    container_id: str
    service: DesiredService | None = None
    timeout: float | None = None
    signal: str = ""
    returns: bool = False
    suspend: bool = False


class Kill(Operation, kw_only=True, tag="kill container"):
    container_id: str
    signal: str


class Pause(Operation, kw_only=True, tag="pause container"):
    container_id: str


class Unpause(Operation, kw_only=True, tag="unpause container"):
    container_id: str


class Remove(Operation, kw_only=True, tag="remove container"):
    """`volumes`: its anonymous volumes, too. `force`: even if it runs."""

    container_id: str
    volumes: bool = False
    force: bool = False


class Rename(Operation, kw_only=True, tag="rename container"):
    """From its temporary name to `name`. `container_id` is "" for a container that this plan creates."""

    container_id: str = ""


class Update(Operation, kw_only=True, tag="update container"):
    """Other limits and another restart policy, at once when it runs. `host_config`: what a client of the Docker API asked
    for, with what it asks for now."""

    container_id: str
    resources: Resources
    restart: Restart
    host_config: dict[str, Any]


class Connect(Operation, kw_only=True, tag="connect container"):
    """Put the container on one more network, at once when it runs. `attachment.network`: the network's name or id.

    NotFound, Conflict (it is on that network; an address is taken), WrongState (it has no network of its own)."""

    container_id: str
    attachment: Attachment


class Disconnect(Operation, kw_only=True, tag="disconnect container"):
    """Take the container off the network with this name or id, at once when it runs. NotFound when it is not on it."""

    container_id: str
    network: str


class AwaitEnd(Operation, kw_only=True, tag="await end of container"):
    """`condition`, as the Docker API has it: not-running, next-exit or removed. The request's end carries the exit code."""

    container_id: str
    condition: str


class Wait(Operation, kw_only=True, tag="wait for container"):
    """`condition`: healthy, completed or running (see conditions.py). `timeout`: seconds, None for no limit."""

    condition: str
    required: bool = True
    timeout: float | None = None


class RegisterJob(Operation, kw_only=True, tag="register job"):
    """Put the job in the place of the one that is registered under its name, if one is. `desired`: what a run needs."""

    desired: Desired
    job: DesiredJob
    digest: str


class RunJob(Operation, kw_only=True, tag="run job"):
    """Run a job that a service depends on, to its end, which must be a good one where it is `required`."""

    desired: Desired
    job: DesiredJob
    digest: str
    required: bool = True


class StartJob(Operation, kw_only=True, tag="start job"):
    """Let its stopped schedules go on, from now."""


class StopJob(Operation, kw_only=True, tag="stop job"):
    """Stop its schedules, and end its run."""


class RemoveJob(Operation, kw_only=True, tag="remove job"):
    """Stop it for good, and remove the containers of its runs. The records and logs of its runs stay unless `history`."""

    history: bool = False


Change = (
    AwaitEnd
    | Connect
    | Disconnect
    | CreateNetwork
    | RemoveNetwork
    | CreateVolume
    | RemoveVolume
    | Make
    | Start
    | Stop
    | Kill
    | Pause
    | Unpause
    | Update
    | Remove
    | Rename
)
"""What may be asked for without a project to plan from."""

Anything = TypeVar("Anything", bound=Operation)


class Plan(Struct, kw_only=True, omit_defaults=True):
    """`unchanged` are containers that stay as they are; `warnings` are for the user."""

    operations: list[Operation] = []
    unchanged: list[str] = []
    warnings: list[str] = []

    def __str__(self) -> str:
        return "".join(f"{operation}\n" for operation in self.operations)

    def add(self, kind: type[Anything], name: str, cause: str, *, after: Iterable[int] = (), **fields: Any) -> Anything:
        """Append an operation; what `after` names twice counts once."""
        made = kind(id=len(self.operations), name=name, cause=cause, after=tuple(dict.fromkeys(after)), **fields)
        self.operations.append(made)
        return made
