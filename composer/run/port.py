"""The interface between composer and its engine: a Protocol that engine.api.Engine implements.

Reads are plain functions, cheap, and safe in any process. Changes to a group's containers are coroutines that only the group's
supervisor calls. Every change is idempotent or leaves nothing half-made: after a failure (an `engine.errors.EngineError`) the
same call can be repeated.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from composer.run.handles import GroupsWatch, LogReader, Process, Watch
from engine.spec.artifact import ArtifactFile, ArtifactKind
from engine.spec.container import Attachment, ContainerSpec, ExecSpec, Membership, Resources, Restart
from engine.spec.credentials import Credentials
from engine.spec.image import (
    BuildSpec,
    BuildWarning,
    Freed,
    ImageDetails,
    ImageRecord,
    RemoteImage,
    SavedImage,
    StoreUsage,
)
from engine.spec.network import NetworkRecord, NetworkSpec, VolumeRecord, VolumeSpec
from engine.spec.state import ContainerExit, ContainerRecord, ContainerState, Endpoint, Health, Probe
from engine.spec.stream import ContainerStats, PathStatus

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from engine.spec.build_record import BuildRecord
    from engine.spec.outline import Outline, Targets

Progress = Callable[[dict[str, object]], None]
"""Called with flat JSON-able events; {"id": layer or step, "status": text, "current": bytes, "total": bytes}."""


class Reads(Protocol):
    """Queries that any command may make at any time, without a supervisor."""

    def boot_id(self) -> str:
        """The kernel's id of this boot: a container's state with another id is from before a reboot."""
        ...

    def shared_version(self) -> object:
        """A value that changes whenever any process changes images, networks, volumes or container names. Compare it
        only with others of the calling thread."""
        ...

    def groups(self) -> list[str]: ...

    def remains(self, group: str) -> bool:
        """Whether there are files of the group, or of any build; they may be remains of a killed process."""
        ...

    def find_container(self, name: str) -> ContainerRecord | None:
        """The container with this name or (whole) id; None when there is none."""
        ...

    def containers(self, group: str) -> list[ContainerRecord]:
        """The group's containers with their state verified against the kernel (a dead pid is not running)."""
        ...

    def folder(self, group: str, container_id: str) -> str:
        """The directory of the container's specification, state, log and writable layer."""
        ...

    def networks(self) -> list[NetworkRecord]: ...

    def forwarding(self) -> tuple[bool, str]:
        """Whether the host forwards packets, and the packet filter chain ("inet admin forward") that drops unknown packets,
        including those of our networks; "" if there is none."""
        ...

    def host_changes(
        self, names: Collection[str], endpoints: Collection[Endpoint] = ()
    ) -> tuple[dict[str, str], dict[str, str], set[str]]:
        """What the host has changed about our networks with these names: network → what another program has removed or
        switched off, network → another link's route that leads its addresses elsewhere, and the overlay networks whose
        hosts networks.toml has changed. `endpoints`: those of running containers."""
        ...

    def need_default_network(self) -> None:
        """Create the network `bridge` before a container uses it, for callers that need its addresses."""
        ...

    def hold_default_network(self) -> int:
        """Keep the network `bridge` without containers; a session may then create it. Returns a descriptor for
        `release_default_network`. Raises OSError."""
        ...

    def release_default_network(self, hold: int) -> None:
        """End a hold, and remove the network unless containers use it or others hold it. Not in an event loop."""
        ...

    def overlay_key(self) -> str:
        """This host's public key for encrypted overlay networks; the private key is created if missing."""
        ...

    def volumes(self) -> list[VolumeRecord]: ...

    def image(self, reference: str) -> ImageRecord | None:
        """The image with this id, tag or digest reference, None when it is not in the store."""
        ...

    def images(self) -> list[ImageRecord]: ...

    def image_details(self, image_id: str) -> ImageDetails:
        """An image's history and layers, read from its configuration. NotFound, Corrupt."""
        ...


class Images(Protocol):
    """Obtains images. Commands call this themselves, concurrently with each other (the store is content-addressed)."""

    def pull(
        self,
        reference: str,
        *,
        platform: str = "",
        progress: Progress | None = None,
        given: Credentials | None = None,
    ) -> ImageRecord:
        """Pull an image from its registry, with the credentials `given`, if any, instead of the stored ones."""
        ...

    def pinned(self, reference: str) -> str:
        """The full reference with the registry's current digest: host/name:tag@sha256:…"""
        ...

    def admit(self, reference: str) -> list[tuple[str, str]]:
        """Refuse an image that a policy (docs/policy.md) does not admit; (rule, signer) for each policy with a rule.

        ImageRefused, InvalidSpec, NotFound."""
        ...

    def verify_image(
        self, reference: str, *, keys: Sequence[str] = (), subject: str = "", issuer: str = "", trusted_root: str = ""
    ) -> str:
        """The signer of an image among the given keys (PEM files) and identity. ImageRefused when none of them signed it."""
        ...

    def lock(self, reference: str) -> str:
        """Like `pinned`, but the id for an image that is only in this store."""
        ...

    def lock_build(self, spec: BuildSpec) -> dict[str, str]:
        """What a build fetches → its current digest or commit, as in BuildSpec.pins; existing pins of the specification
        are kept."""
        ...

    def push(
        self,
        reference: str,
        *,
        progress: Progress | None = None,
        given: Credentials | None = None,
        platform: str = "",
        compression: str = "",
    ) -> None:
        """Upload a tag with all its platforms, or only one. `compression` (gzip, zstd) is that of layers that have never been
        pulled or pushed, "" the one that the registry's settings name. NotFound, RegistryError, Corrupt."""
        ...

    def remote_tags(self, name: str, *, given: Credentials | None = None) -> list[str]:
        """All tags that a repository has at its registry. NotFound, RegistryError."""
        ...

    def remote_image(self, reference: str, *, given: Credentials | None = None) -> RemoteImage:
        """Describe an image in a registry without pulling it. NotFound, RegistryError."""
        ...

    def check_login(self, registry: str, given: Credentials) -> None:
        """Try credentials at a registry (host[:port], "" for Docker Hub) without keeping them. RegistryError."""
        ...

    def artifact(
        self, reference: str, kind: ArtifactKind, known: Callable[[str], bool], *, insecure: Sequence[str] = ()
    ) -> tuple[str, list[ArtifactFile]]:
        """The digest of an artifact in its registry, and its files; none when the digest is `known`. `insecure` names
        registries (host[:port]) without valid certificates. NotFound, BadReference, RegistryError, ImageError, Corrupt."""
        ...

    def publish(
        self,
        reference: str,
        kind: ArtifactKind,
        files: Sequence[ArtifactFile],
        *,
        version: str = "",
        images: Sequence[str] | None = None,
        annotations: dict[str, str] | None = None,
        warn: Callable[[str], None],
        insecure: Sequence[str] = (),
    ) -> str:
        """Push files to a registry as an artifact; returns its digest. `version`: of the OCI specification, "" for the
        newest that the registry takes. With `images`, these are copied beside it, and an index with `annotations` lists
        them."""
        ...

    def stored_credentials(self) -> dict[str, Credentials]:
        """All stored credentials, by the registries' keys in the client's configuration. RegistryError."""
        ...

    def login(self, registry: str, username: str, password: str) -> str:
        """Try credentials at a registry (host[:port], "" for Docker Hub) and store them; returns where. RegistryError."""
        ...

    def logout(self, registry: str) -> bool:
        """Delete a registry's credentials; False when there were none."""
        ...

    def save_images(
        self,
        references: Sequence[str | SavedImage],
        output: int,
        *,
        platforms: Sequence[str] = (),
        docker: bool = True,
        compression: str = "",
    ) -> None:
        """Write images as one tar archive, as `docker save` does, to descriptor `output`: for all platforms that their names
        have, or for these. `docker`: not only as an OCI layout, but also with the list that Docker reads. `compression` (gzip,
        zstd) is that of layers. NotFound, Corrupt."""
        ...

    def load_images(self, source: int, *, platforms: Sequence[str] = ()) -> list[ImageRecord]:
        """Load an archive by `docker save` or another OCI tool (plain or compressed) from descriptor `source`: all images,
        or those for these platforms. NotFound, Corrupt."""
        ...

    def import_image(
        self, source: int, reference: str, *, changes: Sequence[str] = (), message: str = "", platform: str = ""
    ) -> ImageRecord:
        """Create an image from the tar archive of a root file system; `changes` are Dockerfile instructions. Corrupt,
        InvalidSpec."""
        ...

    def relay_image(self) -> str:
        """The name of the image of the program that forwards connections to the endpoints of provided services. The image is
        created if it does not exist."""
        ...

    def prune_images(
        self, image_ids: Sequence[str] = (), cache_keys: Sequence[str] = (), *, preview: bool = False
    ) -> Freed:
        """Delete these images, except those that a container uses, and these records of the build cache. With `preview`,
        nothing is deleted; the result is what would be."""
        ...

    def trim_images(self, budget: int) -> Freed:
        """Delete images that no container uses, the oldest first, until the layers of the others take `budget` bytes."""
        ...

    def remove_replaced_images(self) -> Freed:
        """Delete images that lost their last tag to a newer build, once no container uses them."""
        ...

    def store_usage(self) -> StoreUsage:
        """The disk space of images and the build cache."""
        ...

    def build(
        self,
        spec: BuildSpec,
        *,
        progress: Progress | None = None,
        begun: Callable[[Callable[[], None]], None] | None = None,
        credentials: Callable[[str], Credentials | None] | None = None,
    ) -> ImageRecord:
        """`begun` is called with a function with which any thread can cancel the build: it kills the processes of RUN
        steps, and the build fails. `credentials` returns those for a registry (host[:port]), None for the stored
        ones."""
        ...

    def context_paths(self, dockerfile: str, contexts: Mapping[str, str]) -> list[str] | None:
        """The paths of the context that the Dockerfile at the path `dockerfile` can read, with these additional contexts;
        None if it may be any. Raises BuildFailed, OSError."""
        ...

    def build_records(self) -> list[BuildRecord]:
        """The records of past builds, the newest first."""
        ...

    def build_events(self, ref: str) -> list[dict[str, Any]]:
        """The progress of a past build, each event with its `time`; empty if the build was not recorded."""
        ...

    def forget_build(self, ref: str) -> None:
        """Remove the record of a past build, if there is one."""
        ...

    def check_build(self, spec: BuildSpec) -> list[BuildWarning]:
        """The problems of the Dockerfile by BuildKit's rules; nothing is built. BuildFailed if it cannot be built."""
        ...

    def outline_build(self, spec: BuildSpec) -> Outline:
        """The inputs that the build accepts: arguments, secrets, SSH agents. Nothing is built. BuildFailed."""
        ...

    def build_targets(self, spec: BuildSpec) -> Targets:
        """The stages of the Dockerfile. BuildFailed if it cannot be parsed."""
        ...

    def tag_image(self, reference: str, tag: str) -> None:
        """Tag an image; the tag moves from the image that has it now. NotFound, BadReference."""
        ...

    def remove_image(self, reference: str, *, force: bool = False, platforms: Sequence[str] = ()) -> list[str]:
        """Untag an image, and delete it with its last tag; returns lines as `docker rmi` prints them. With `platforms` the
        name loses only the images for these. NotFound, Conflict."""
        ...


class Changes(Protocol):
    """Changes that only the group's supervisor makes. `group` is fixed when the engine's session for it is opened."""

    async def create_network(self, spec: NetworkSpec) -> NetworkRecord: ...

    async def remove_network(self, name: str) -> None:
        """Remove the network, its link and rules; no error when it does not exist; Conflict while in use."""
        ...

    async def create_volume(self, spec: VolumeSpec) -> VolumeRecord: ...

    async def remove_volume(self, name: str) -> None: ...

    def record(self, container_id: str) -> ContainerRecord:
        """The session's current record of the container. NotFound."""
        ...

    def containers(self) -> list[ContainerRecord]:
        """The session's current records of all containers, oldest first."""
        ...

    def left_out(self, spec: ContainerSpec) -> list[str]:
        """Parts of the specification that are not available here and are ignored, a line each, such as limits of an ordinary
        user."""
        ...

    async def create(self, spec: ContainerSpec, *, anonymous_volumes: Sequence[str] = ()) -> ContainerRecord:
        """Record the container; nothing runs yet. Conflict when the name is already used in the engine. `anonymous_volumes`
        are those of `spec.mounts` that it takes over from the container that created them."""
        ...

    async def start(self, container_id: str, *, ready: Callable[[], Awaitable[None]] | None = None) -> ContainerRecord:
        """Create namespaces, root, cgroup and network, and start the process. After StartFailed, PortInUse, … it is not
        running. `ready` is awaited when everything except the program is set up: attach then to miss no output."""
        ...

    async def signal(self, container_id: str, signal: int | str) -> None:
        """`signal`: a number, or a name as signal(7) has it, with or without SIG. As in Docker it counts as a stop by the
        user (`stopped_by_user`), unless the container has a different stop signal and a policy other than
        unless-stopped."""
        ...

    async def stop(self, container_id: str, *, timeout: float | None = None, signal: str = "") -> ContainerExit | None:
        """Stop signal, then SIGKILL after `timeout` seconds (None: the specification's, else 10)."""
        ...

    def afford_start(self) -> None:
        """Raise OperationFailed if the disk is too full to start a container: check this before stopping one to restart
        it."""
        ...

    async def pause(self, container_id: str) -> None: ...

    async def unpause(self, container_id: str) -> None: ...

    async def remove(self, container_id: str, *, force: bool = False, volumes: bool = False) -> None: ...

    async def rename(self, container_id: str, name: str) -> None: ...

    async def limit(
        self, container_id: str, resources: Resources, restart: Restart, host_config: Mapping[str, Any]
    ) -> ContainerRecord:
        """Change the container's limits, immediately if it runs, and its restart policy. WrongState while it is being started
        or removed; Unsupported and OperationFailed for a limit that the kernel refuses, in which case nothing changes."""
        ...

    async def connect(self, container_id: str, attachment: Attachment) -> ContainerRecord:
        """Connect the container to a further network, immediately if it runs: link, addresses, names, and, if the network
        comes first, the default route and published ports. Conflict if it is connected already, NotFound, WrongState for a
        container without its own network."""
        ...

    async def disconnect(self, container_id: str, network: str) -> ContainerRecord:
        """Disconnect the container from a network, immediately if it runs. NotFound if it is not connected."""
        ...

    async def rejoin(self, changes: Sequence[Membership]) -> list[ContainerRecord]:
        """Connect containers to exactly these networks, immediately if they run, and replace labels. Connections that
        do not change stay up. All containers leave their networks before any joins one, so they can exchange
        addresses. All or nothing: after an error the containers have the networks and labels from before.
        NotFound, Conflict (an address in use), WrongState, and the errors of connect."""
        ...

    async def update(self, container_id: str, state: ContainerState) -> None:
        """Replace the state file atomically (restart counts, stopped_by_user …)."""
        ...

    async def set_health(self, container_id: str, health: Health) -> None: ...

    async def probe(self, container_id: str, test: Sequence[str], *, timeout: float) -> Probe:
        """Run a health check command in the container and return its outcome; exit code -1 means that it timed out."""
        ...

    async def exec(
        self, container_id: str, spec: ExecSpec, *, output: Callable[[bytes], None], errors: Callable[[bytes], None]
    ) -> int:
        """Run a hook to completion and return its exit code; standard output goes to `output`, standard error to `errors`, as
        they arrive. StartFailed."""
        ...

    def exits(self) -> AsyncIterator[tuple[str, ContainerExit]]:
        """Exits of containers as the keeper reports them, while the session is open."""
        ...

    async def hold(self, wanted: bool) -> None:
        """Let the keeper restart this supervisor if it is killed, even while no container runs, until the session
        closes."""
        ...

    async def adopt(self, *, clean: bool = False) -> list[ContainerRecord]:
        """Take over from an earlier supervisor: reconnect to the keeper or restart it, read missed exits, take back DNS and
        port sockets, remove kernel objects without a container. Called once, first. `clean`: the earlier supervisor exited
        in good order, so that nothing needs repair if nothing runs."""
        ...

    async def close(self) -> None:
        """End the session; ask the keeper to exit when no container is alive."""
        ...


class Streams(Protocol):
    """Operations of a command on one container, independent of the supervisor. Any process may call these."""

    def logs(
        self, group: str, container_id: str, *, since: int = 0, until: int = 0, tail: int | None = None
    ) -> LogReader:
        """Read the entries from `since` to `until` (nanoseconds since the epoch, both included), or from the last `tail` on."""
        ...

    def watch(self, group: str) -> Watch: ...

    def watch_groups(self) -> GroupsWatch: ...

    def watch_files(self, paths: Sequence[str], *, skip: Callable[[str], bool]) -> Watch:
        """Reports absolute paths that change: of files, and below directories unless `skip` returns true for them."""
        ...

    def exec_process(self, group: str, container_id: str, spec: ExecSpec, *, stdio: tuple[int, int, int]) -> Process:
        """Start a further process; StartFailed with exit code 126 or 127. Without a tty `wait` copies from and to the descriptors
        `stdio` (-1: the null device, or PIPE), which do not enter the container and may be closed at once."""
        ...

    def check_user(self, group: str, container_id: str, user: str) -> None:
        """Raise InvalidSpec if a running container's /etc/passwd and /etc/group do not have this user, and
        OperationFailed if they cannot be read. They are not read where that could block: then only a start tells."""
        ...

    def attach(self, group: str, container_id: str, *, stdin: bool = True) -> Process:
        """The container's first process; output from now on, and with `stdin` also input if its stdin is open."""
        ...

    def stats(self, group: str, container_id: str) -> ContainerStats: ...

    def export(self, group: str, container_id: str, output: int) -> None:
        """Write the container's file system as a tar archive to descriptor `output`."""
        ...

    def export_image(self, reference: str, output: int) -> None:
        """Write an image's file system as a tar archive to descriptor `output`. NotFound."""
        ...

    def changes(self, group: str, container_id: str) -> list[tuple[str, str]]:
        """The container's changes to the files of its image: (path, "modified", "added" or "deleted"), by path."""
        ...

    def copy_out(self, group: str, container_id: str, path: str, output: int, *, follow: bool = False) -> None:
        """Write `path` of the container, its base name as first entry, as a tar archive to `output`."""
        ...

    def path_status(self, group: str, container_id: str, path: str) -> PathStatus:
        """The type and attributes of `path` in the container. NotFound."""
        ...

    def copy_in(
        self, group: str, container_id: str, path: str, input: int, *, as_user: bool = False, tree: str = ""
    ) -> None:
        """Unpack the tar archive from descriptor `input`: into `path` of the container when that is a directory, else its
        one tree takes the name `path` (its parent must exist). Owners are the archive's, or `as_user` the container's user,
        if that is not root, as with Docker's copyUIDGID.

        `tree` describes the archive's content: "file"; "directory", which never takes a file's place; "several" trees,
        for which `path` must be a directory; "" if unknown."""
        ...

    def pack_local(self, path: str, label: str, output: int, *, follow: bool = False) -> None:
        """Write the local `path`, with all below it, as a tar archive of one tree called `label` to `output`."""
        ...

    def unpack_local(
        self, input: int, folder: str, rename: Callable[[str], str], *, archive: bool = False
    ) -> list[str]:
        """Unpack the tar archive from `input` into a local directory, each name through `rename`; returns the names of skipped
        devices. With `archive`, which needs root, owners, modes, attributes and devices are the archive's."""
        ...

    def commit(
        self,
        group: str,
        container_id: str,
        reference: str,
        *,
        author: str = "",
        message: str = "",
        changes: Sequence[str] = (),
    ) -> ImageRecord:
        """Create an image from the container's file system; `changes` are Dockerfile instructions."""
        ...


class Engine(Reads, Images, Streams, Protocol):
    def prepare(self, group: str) -> None:
        """Prepare to start containers of the group while the caller does other work, until the group is opened for
        changes."""
        ...

    def session(self, group: str, tasks: TaskGroup, *, supervisor: Sequence[str] = ()) -> Awaitable[Changes]:
        """Open the group for changes. Background work of the session runs as tasks of `tasks`. `supervisor` is the command
        line with which the keeper restarts us."""
        ...
