"""A plan: operations with causes and dependencies. Its text is deterministic, one line per operation.

Each operation is one atomic call of the engine. Larger actions, such as replacing a container, consist of several
operations (`replacement.py`); their `part` names the action, which the progress display shows.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from msgspec import Struct

from composer.plan.desired import Desired, DesiredJob, DesiredService
from composer.plan.labels import service_of
from engine.spec.container import Attachment, ContainerSpec, Resources, Restart
from engine.spec.network import NetworkSpec, VolumeSpec
from engine.spec.state import ContainerRecord

RECREATE, RESTART = "recreate", "restart"
"""The actions that an operation may be part of."""


class Operation(Struct, kw_only=True, omit_defaults=True, tag_field="kind"):
    """One step. `after` has the ids of the operations that must succeed first.

    `name` is the final name of the container, network or volume.
    """

    id: int
    name: str
    cause: str
    after: tuple[int, ...] = ()
    service_name: str = ""
    part: str = ""

    @property
    def kind(self) -> str:
        """The operation in words: "create container"."""
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
    """Create container `number` of the service. `replaces` is the id of the container that it replaces: the new one has
    a temporary name until the old one is removed, and takes over its anonymous volumes unless `renew_volumes`."""

    service: DesiredService
    number: int
    replaces: str = ""
    renew_volumes: bool = False


class Make(Operation, kw_only=True, tag="make container"):
    """Create a container without a service from its specification, for a client of the Docker API."""

    spec: ContainerSpec


class Start(Operation, kw_only=True, tag="start container"):
    """`container_id` is "" for a container that this plan creates; it is then found by name."""

    container_id: str = ""
    service: DesiredService | None = None


class PreStartHooks(Operation, kw_only=True, tag="run pre_start hooks"):
    """Run the service's pre_start hooks one after the other, each to completion. `name` is the first container that
    they prepare."""

    service: DesiredService


class Stop(Operation, kw_only=True, tag="stop container"):
    """`timeout`: seconds until SIGKILL; None: the container's setting; infinite: never. `signal`: overrides the
    container's stop signal. `returns`: the plan starts it again. `suspend`: the stop of a shutdown, after which
    autostart starts it again. `strict`: a failing pre_stop hook prevents the stop; `up` replaces and removes containers
    nevertheless, as docker compose does."""

    container_id: str
    service: DesiredService | None = None
    timeout: float | None = None
    signal: str = ""
    returns: bool = False
    suspend: bool = False
    strict: bool = False


class Kill(Operation, kw_only=True, tag="kill container"):
    container_id: str
    signal: str


class Pause(Operation, kw_only=True, tag="pause container"):
    container_id: str


class Unpause(Operation, kw_only=True, tag="unpause container"):
    container_id: str


class Remove(Operation, kw_only=True, tag="remove container"):
    """`volumes`: also remove anonymous volumes. `force`: even if it is running."""

    container_id: str
    volumes: bool = False
    force: bool = False


class Rename(Operation, kw_only=True, tag="rename container"):
    """Rename from the temporary name to `name`. `container_id` is "" for a container that this plan creates."""

    container_id: str = ""


class Update(Operation, kw_only=True, tag="update container"):
    """Change limits and restart policy; a running container changes at once. `host_config`: the merged HostConfig of
    the Docker API's client."""

    container_id: str
    resources: Resources
    restart: Restart
    host_config: dict[str, Any]


class Connect(Operation, kw_only=True, tag="connect container"):
    """Connect the container to a network, at once if it is running. `attachment.network` is the network's name or id.
    Raises NotFound, Conflict (already connected, or address in use), WrongState (it shares a network namespace)."""

    container_id: str
    attachment: Attachment


class Disconnect(Operation, kw_only=True, tag="disconnect container"):
    """Disconnect the container from the network with this name or id, at once if it is running. Raises NotFound if it
    is not connected."""

    container_id: str
    network: str


class Rejoin(Operation, kw_only=True, tag="reconnect container"):
    """Connect the running container to exactly the service's networks, with the service's addresses and aliases, and
    record the service's configuration. If that fails, the container keeps its networks. Raises NotFound, Conflict
    (address in use), WrongState, and what a connection raises.

    `together`: the (id, service) of other containers that change in the same step, all or none, because their
    addresses go round in a circle. Their own operations follow, and find nothing left to do."""

    container_id: str
    service: DesiredService
    together: tuple[tuple[str, DesiredService], ...] = ()


class AwaitEnd(Operation, kw_only=True, tag="await end of container"):
    """`condition` as in the Docker API: not-running, next-exit or removed. The final message of the request has the
    exit code."""

    container_id: str
    condition: str


class Wait(Operation, kw_only=True, tag="wait for container"):
    """`condition`: healthy, completed or running (see conditions.py). `timeout`: seconds, None for no limit."""

    condition: str
    required: bool = True
    timeout: float | None = None


class RegisterJob(Operation, kw_only=True, tag="register job"):
    """Register the job, replacing one of the same name. `desired` is what a run needs."""

    desired: Desired
    job: DesiredJob
    digest: str


class RunJob(Operation, kw_only=True, tag="run job"):
    """Run a job that a service depends on to completion. It must succeed if it is `required`."""

    desired: Desired
    job: DesiredJob
    digest: str
    required: bool = True


class StartJob(Operation, kw_only=True, tag="start job"):
    """Resume the job's stopped schedules, from now on."""


class StopJob(Operation, kw_only=True, tag="stop job"):
    """Stop the job's schedules and its current run."""


class RemoveJob(Operation, kw_only=True, tag="remove job"):
    """Unregister the job and remove the containers of its runs. Records and logs of runs are kept unless `history`."""

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
"""Operations that a client may request without a project."""

Anything = TypeVar("Anything", bound=Operation)


class Plan(Struct, kw_only=True, omit_defaults=True):
    """`unchanged` has the containers that need no operation; `warnings` are shown to the user."""

    operations: list[Operation] = []
    unchanged: list[str] = []
    warnings: list[str] = []

    def __str__(self) -> str:
        return "".join(f"{operation}\n" for operation in self.operations)

    def add(self, kind: type[Anything], name: str, cause: str, *, after: Iterable[int] = (), **fields: Any) -> Anything:
        """Append an operation; duplicates in `after` are dropped."""
        made = kind(id=len(self.operations), name=name, cause=cause, after=tuple(dict.fromkeys(after)), **fields)
        self.operations.append(made)
        return made

    def add_for(self, kind: type[Anything], record: ContainerRecord, cause: str, **fields: Any) -> Anything:
        """Append an operation on an existing container of a service; `fields` as for `add`."""
        name = service_of(record)
        return self.add(kind, record.spec.name, cause, container_id=record.id, service_name=name, **fields)

    def waits_for(self, operation: Operation, other: Operation) -> bool:
        """Whether the operation waits for the other one, directly or not, or is the same."""
        waiting, seen = [operation.id], set()
        while waiting:
            current = waiting.pop()
            if current == other.id:
                return True
            if current not in seen:
                seen.add(current)
                waiting += self.operations[current].after
        return False

    def warn_of_orphans(self, orphans: Iterable[ContainerRecord]) -> None:
        names = ", ".join(sorted(record.spec.name for record in orphans))
        self.warnings.append(
            f"Found orphan containers ({names}) for this project. If you removed or renamed this service in your "
            "compose file, you can run this command with the --remove-orphans flag to clean it up."
        )
