"""The desired state of a project, in engine terms. It is immutable and serialisable, without pydantic: it is cached and
sent to the supervisor."""

from collections.abc import Container, Sequence

from msgspec import Struct, structs

from engine.spec.container import ContainerSpec
from engine.spec.image import BuildSpec, for_platform
from engine.spec.network import NetworkSpec, VolumeSpec

MOST_REPLICAS = 10_000
"""The most containers of one service; a larger number is treated as a mistake."""

STARTED, HEALTHY, COMPLETED = "service_started", "service_healthy", "service_completed_successfully"


class Dependency(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One depends_on entry; `condition` is one of STARTED, HEALTHY, COMPLETED."""

    service: str
    condition: str = STARTED
    restart: bool = False
    required: bool = True


class Hook(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A post_start or pre_stop command."""

    command: tuple[str, ...]
    user: str = ""
    privileged: bool = False
    working_dir: str = ""
    environment: dict[str, str | None] = {}


class PreStart(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pre_start hook: a container that runs to completion before the service starts. `container` is its specification
    without the name and the image id."""

    image: str
    container: ContainerSpec
    pull_policy: str = ""
    platform: str = ""

    @property
    def wanted_image(self) -> str:
        """See DesiredService.wanted_image."""
        return for_platform(self.image, self.platform)


class Provider(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An external program that provides a service in place of containers, and its options. `image`: the image that the
    service names or builds, "" for none; `named`: the files give its name."""

    type: str
    options: dict[str, tuple[str, ...]] = {}
    image: str = ""
    named: bool = False


class DesiredModel(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An AI model that a service uses, and the names of the variables for its name and its server's address. `endpoint`
    is the address of the user's own server, "" for the model runner."""

    name: str
    model: str
    model_variable: str
    endpoint_variable: str
    context_size: int = 0
    runtime_flags: tuple[str, ...] = ()
    endpoint: str = ""


class DesiredService(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One service. `container` is a template: name and number are filled in per container, and `image` (an id) once the
    image is known. Namespace modes and volumes_from refer to services as "service:<name>" until the containers are
    known."""

    name: str
    hash: str
    image: str
    container: ContainerSpec
    build: BuildSpec | None = None
    pull_policy: str = ""
    platform: str = ""
    scale: int = 1
    container_name: str = ""
    depends_on: tuple[Dependency, ...] = ()
    pre_start: tuple[PreStart, ...] = ()
    post_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()
    provider: Provider | None = None
    models: tuple[DesiredModel, ...] = ()
    attach: bool = True
    api_socket: bool = False
    """The containers can use the Docker API of this machine, with the user's credentials."""
    refused: tuple[str, ...] = ()
    """The settings of this service that are not supported, one line each with its position; see refusal.py."""
    clashes: dict[str, str] = {}
    """Other service → why the two exclude each other."""
    summary: dict[str, str] = {}
    """Flat key → value of the model as text, used to name what changed; see recreation.py."""

    @property
    def wanted_image(self) -> str:
        """The image's name, with the platform if the service sets one: the key in `Snapshot.images`."""
        return for_platform(self.image, self.platform) if self.image else ""

    @property
    def needs_programs(self) -> bool:
        """Whether other programs than the engine's must do something before its containers are created."""
        return self.provider is not None or bool(self.models) or self.api_socket

    @property
    def mounted_images(self) -> tuple[str, ...]:
        """The images that are mounted as file systems (volumes of type image)."""
        found = (mount.source for one in self.containers for mount in one.mounts if mount.type == "image")
        return tuple(dict.fromkeys(found))

    @property
    def containers(self) -> tuple[ContainerSpec, ...]:
        """The templates of the service's containers and of its pre_start hooks."""
        return (self.container, *(hook.container for hook in self.pre_start))

    @property
    def joined(self) -> tuple[str, ...]:
        """Services whose namespaces this one joins."""
        spec = self.container
        modes = (spec.network_mode, spec.pid_mode, spec.ipc_mode, spec.uts_mode, spec.cgroup_mode)
        return tuple(dict.fromkeys(mode.removeprefix("service:") for mode in modes if mode.startswith("service:")))

    @property
    def linked(self) -> tuple[str, ...]:
        """Services whose namespaces this one joins or whose volumes it mounts."""
        sources = [
            v.removeprefix("service:").partition(":")[0]
            for v in self.container.volumes_from
            if v.startswith("service:")
        ]
        return tuple(dict.fromkeys((*self.joined, *sources)))


class Schedule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a job starts automatically. `cron`: see composer.cron; `timezone` "" means UTC.

    `concurrency` applies when a fire is due during a run: forbid (drop the fire) or queue (keep one waiting).
    `missed_fires` applies to fires that were missed: one (a single run for all of them) or skip.
    """

    cron: str
    timezone: str = ""
    concurrency: str = "forbid"
    missed_fires: str = "one"

    @property
    def key(self) -> str:
        """Identifies this schedule among the job's schedules."""
        return f"{self.cron} {self.timezone}".strip()


class DesiredJob(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job: its container, described as for a service, and its triggers. `manual` False forbids `run`. `timeout`,
    `retries`, `retry_delay` and `history` are those of composer.model.job.Limits."""

    service: DesiredService
    manual: bool = True
    schedules: tuple[Schedule, ...] = ()
    timeout: float = 0.0
    retries: int = 0
    retry_delay: float = 10.0
    history: int = 20

    @property
    def scheduled(self) -> bool:
        return bool(self.schedules)


class DesiredNetwork(Struct, frozen=True, kw_only=True, omit_defaults=True):
    spec: NetworkSpec
    external: bool = False


class DesiredVolume(Struct, frozen=True, kw_only=True, omit_defaults=True):
    spec: VolumeSpec
    external: bool = False


class Desired(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole project. `order` lists the enabled services, dependencies first; `known` lists all, enabled or not."""

    project: str
    services: dict[str, DesiredService] = {}
    order: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    networks: dict[str, DesiredNetwork] = {}
    volumes: dict[str, DesiredVolume] = {}
    working_dir: str = ""
    config_files: tuple[str, ...] = ()
    jobs: dict[str, DesiredJob] = {}
    """The enabled jobs."""
    disabled_jobs: dict[str, tuple[str, ...]] = {}
    """Disabled job → its profiles."""
    foreign: dict[str, tuple[str, ...]] = {}
    """Service → the access to this machine that remote files require for it, one line each."""
    warnings: dict[str, tuple[str, ...]] = {}
    """Settings without effect, one line each with its position → the services and jobs that it concerns; none: the whole
    project."""

    def quiet(self) -> "Desired":
        """A copy without warnings."""
        return structs.replace(self, warnings={})

    def warnings_for(self, names: Container[str]) -> list[str]:
        """The warnings that concern the project or one of these services and jobs."""
        return [line for line, whose in self.warnings.items() if not whose or any(name in names for name in whose)]

    def selected(self, services: Sequence[str], *, dependencies: bool) -> list[str]:
        """The services to act on, in start order: the named ones (or all), and with `dependencies` those that they
        depend on."""
        if not services:
            return list(self.order)
        chosen: set[str] = set()
        waiting = list(services)
        while waiting:
            name = waiting.pop()
            if name not in chosen and name in self.services:
                chosen.add(name)
                if dependencies:
                    service = self.services[name]
                    waiting += [*(one.service for one in service.depends_on), *service.linked]
        return [name for name in self.order if name in chosen]

    def every(self) -> list[DesiredService]:
        """The services, and the containers of jobs described as services."""
        return [*self.services.values(), *(job.service for job in self.jobs.values())]

    def references(self) -> list[str]:
        """The images that services run or mount."""
        found = {service.wanted_image for service in self.services.values() if service.image}
        for service in self.services.values():
            found.update(service.mounted_images)
            found.update(hook.wanted_image for hook in service.pre_start)
        return sorted(found)
