"""The engine's public interface: `Engine` implements composer's port. Imports are lazy, so that a listing loads
little."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from engine import errors
from engine.container import state as files
from engine.errors import NotFound, Unsupported
from engine.kernel.boot import boot_id
from engine.paths import Roots
from engine.session import group_store
from engine.spec.container import ExecSpec
from engine.spec.credentials import Credentials
from engine.spec.image import BuildSpec, BuildWarning, Freed, ImageDetails, ImageRecord, StoreUsage
from engine.spec.network import NetworkRecord, VolumeRecord, decode_network, decode_volume
from engine.spec.state import ContainerRecord, Endpoint
from engine.spec.stream import ContainerStats, PathStatus
from engine.store import Store

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from engine.build.container_run import Network
    from engine.container.log_reader import LogReader
    from engine.image.images import ImageStore
    from engine.keeper.launch import Launch
    from engine.session.process import AttachedProcess, ExecProcess
    from engine.session.session import Session
    from engine.spec.artifact import ArtifactFile, ArtifactKind
    from engine.spec.build_record import BuildRecord
    from engine.spec.image import RemoteImage, SavedImage
    from engine.spec.outline import Outline, Targets
    from engine.watch.group import GroupsWatch, GroupWatch
    from engine.watch.tree import TreeWatch

Progress = Callable[[dict[str, object]], None]


class Engine:
    """See composer.run.port.Engine for the operations."""

    def __init__(self, roots: Roots) -> None:
        roots.close_to_others()
        errors.PLACES[:] = [roots.state, roots.run]
        self.roots = roots
        self._store = Store(roots)
        self._launches: dict[str, Launch] = {}
        self._suitable = False

    @cached_property
    def _images(self) -> ImageStore:
        from engine.image.images import ImageStore

        return ImageStore(self._store)

    # ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────

    def shared_version(self) -> object:
        """A value that differs after each change of images, networks, volumes or names of containers, by any process. Only
        for comparison within the calling thread (https://sqlite.org/pragma.html#pragma_data_version)."""
        if not os.path.exists(self.roots.database):
            return None
        db = self._store.db
        return db.execute("PRAGMA data_version").fetchone()[0], db.total_changes

    def boot_id(self) -> str:
        return boot_id()

    def groups(self) -> list[str]:
        try:
            return sorted(os.listdir(self.roots.groups))
        except FileNotFoundError:
            return []

    def remains(self, group: str) -> bool:
        from engine.session import build_folders

        folders = (f"{root}/{group}" for root in (self.roots.run, self.roots.groups))
        return any(map(os.path.exists, folders)) or build_folders.exist(self.roots)

    def find_container(self, name: str) -> ContainerRecord | None:
        if not os.path.exists(self.roots.database):
            return None
        for container_id, group, present in group_store.exact(self._store, name):
            if (record := files.read(self.roots, group, container_id)) is not None:
                return files.named(record, present)
        return None

    def containers(self, group: str) -> list[ContainerRecord]:
        if not os.path.isdir(f"{self.roots.groups}/{group}"):
            return []
        return files.every(self.roots, group, group_store.names(self._store, group))

    def folder(self, group: str, container_id: str) -> str:
        return self.roots.container(group, container_id)

    def networks(self) -> list[NetworkRecord]:
        if not os.path.exists(self.roots.database):
            return []
        rows = self._store.db.execute("SELECT record FROM networks ORDER BY name")
        return [decode_network(row[0]) for row in rows]

    def forwarding(self) -> tuple[bool, str]:
        from engine.net.firewall import forwarding_check

        return forwarding_check.forwards(), forwarding_check.dropping()

    def host_changes(
        self, names: Collection[str], endpoints: Collection[Endpoint] = ()
    ) -> tuple[dict[str, str], dict[str, str], set[str]]:
        records = [record for record in self.networks() if record.spec.name in names]
        if not records:
            return {}, {}, set()
        from engine.net import host_changes

        routes = host_changes.routes()
        missing = host_changes.missing_parts(records, endpoints, routes)
        return missing, host_changes.conflicting_routes(records, routes), host_changes.with_other_hosts(records)

    def need_default_network(self) -> None:
        from engine.net import bridge

        bridge.need_default(self._store)

    def hold_default_network(self) -> int:
        from engine.net import bridge_hold

        return bridge_hold.hold(self.roots)

    def release_default_network(self, hold: int) -> None:
        import asyncio

        from engine.net import bridge_hold, removal

        bridge_hold.release(self.roots, hold)
        asyncio.run(removal.leave_default(self._store))

    def overlay_key(self) -> str:
        """Make this host's WireGuard key for encrypted overlay networks unless there is one; its public key. Raises
        InvalidSpec, OperationFailed."""
        from engine.net.overlay import wireguard

        return wireguard.make_key()

    def volumes(self) -> list[VolumeRecord]:
        if not os.path.exists(self.roots.database):
            return []
        rows = self._store.db.execute("SELECT record FROM volumes ORDER BY name")
        return [decode_volume(row[0]) for row in rows]

    def image(self, reference: str) -> ImageRecord | None:
        return self._images.get(reference)

    def images(self) -> list[ImageRecord]:
        return self._images.all()

    def image_details(self, image_id: str) -> ImageDetails:
        from engine.image.details import details

        return details(self._images, image_id)

    def _container(self, group: str, container_id: str) -> ContainerRecord:
        found = files.read(self.roots, group, container_id)
        if found is None:
            raise NotFound("container", container_id[:12])
        return found

    # ── images ───────────────────────────────────────────────────────────────────────────────────────────────────

    def pull(
        self,
        reference: str,
        *,
        platform: str = "",
        progress: Progress | None = None,
        given: Credentials | None = None,
    ) -> ImageRecord:
        from engine import registry as registries

        return registries.pull(reference, images=self._images, platform=platform, progress=progress, given=given)

    def pinned(self, reference: str) -> str:
        from engine import registry as registries

        return registries.pinned(reference)

    def admit(self, reference: str) -> list[tuple[str, str]]:
        from engine.trust import gate

        return [(rule.place, signer) for rule, signer in gate.admit(self._images, reference)]

    def verify_image(
        self, reference: str, *, keys: Sequence[str] = (), subject: str = "", issuer: str = "", trusted_root: str = ""
    ) -> str:
        from engine.trust import gate
        from engine.trust.policy import signature_rule

        return gate.verify(self._images, reference, signature_rule(keys, subject, issuer, trusted_root))

    def lock(self, reference: str) -> str:
        from engine import registry as registries

        return registries.lock(reference, images=self._images)

    def lock_build(self, spec: BuildSpec) -> dict[str, str]:
        from engine import registry as registries
        from engine.build import lock

        return lock(spec, images=self._images, pinned=lambda name: registries.lock(name, images=self._images))

    def push(
        self,
        reference: str,
        *,
        progress: Progress | None = None,
        given: Credentials | None = None,
        platform: str = "",
        compression: str = "",
    ) -> None:
        from engine import registry as registries
        from engine.image.layer_blob import Compression

        registries.push(
            reference,
            images=self._images,
            progress=progress,
            given=given,
            platform=platform,
            compression=Compression(compression) if compression else None,
        )

    def remote_tags(self, name: str, *, given: Credentials | None = None) -> list[str]:
        from engine import registry as registries

        return registries.tags(name, given=given)

    def remote_image(self, reference: str, *, given: Credentials | None = None) -> RemoteImage:
        from engine import registry as registries

        return registries.describe(reference, given=given)

    def check_login(self, registry: str, given: Credentials) -> None:
        from engine.registry.login import check

        check(registry, given)

    def artifact(
        self, reference: str, kind: ArtifactKind, known: Callable[[str], bool], *, insecure: Sequence[str] = ()
    ) -> tuple[str, list[ArtifactFile]]:
        from engine import registry as registries

        return registries.read_artifact(reference, kind, known, insecure=insecure)

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
        from engine import registry as registries
        from engine.image import lease

        with lease.adding(self.roots):
            return registries.publish(
                reference, kind, files, blobs=self._images.blobs, version=version, images=images,
                annotations=annotations, warn=warn, insecure=insecure,
            )  # fmt: skip

    def stored_credentials(self) -> dict[str, Credentials]:
        from engine.registry.credentials import stored

        return stored()

    def login(self, registry: str, username: str, password: str) -> str:
        from engine.registry.login import login

        return login(registry, username, password)

    def logout(self, registry: str) -> bool:
        from engine.registry.login import logout

        return logout(registry)

    def save_images(
        self,
        references: Sequence[str | SavedImage],
        output: int,
        *,
        platforms: Sequence[str] = (),
        docker: bool = True,
        compression: str = "",
    ) -> None:
        from engine.image.archive.saving import save

        with open(output, "wb", closefd=False) as file:
            save(self._images, references, file, platforms=platforms, docker=docker, compression=compression)

    def load_images(self, source: int, *, platforms: Sequence[str] = ()) -> list[ImageRecord]:
        from engine.image.archive.loading import load_stream

        with open(source, "rb", closefd=False) as file:
            return load_stream(self._images, file, platforms=platforms)

    def import_image(
        self, source: int, reference: str, *, changes: Sequence[str] = (), message: str = "", platform: str = ""
    ) -> ImageRecord:
        from engine.build.amend import amend
        from engine.image.importing import import_rootfs
        from engine.spec.image import ImageConfig

        config = amend(ImageConfig(), changes)
        tags = [reference] if reference else []
        with open(source, "rb", closefd=False) as file:
            return import_rootfs(
                self._images,
                file,
                tags=tags,
                config=config,
                subject="the archive",
                comment=message or "Imported from -",
                wanted=platform,
            )

    def relay_image(self) -> str:
        from engine.image.relay.relay_image import relay_image

        return relay_image(self._images)

    def prune_images(
        self, image_ids: Sequence[str] = (), cache_keys: Sequence[str] = (), *, preview: bool = False
    ) -> Freed:
        from engine.image import gc

        return gc.prune(self._images, image_ids, cache_keys, preview=preview)

    def remove_replaced_images(self) -> Freed:
        from engine.image import gc, rubbish

        freed = gc.replaced(self._images)
        rubbish.start_sweeping(self._images.layers.root)
        return freed

    def trim_images(self, budget: int) -> Freed:
        from engine.image import gc

        return gc.trim(self._images, budget)

    def store_usage(self) -> StoreUsage:
        from engine.image.usage import usage

        return usage(self._images)

    def build(
        self,
        spec: BuildSpec,
        *,
        progress: Progress | None = None,
        begun: Callable[[Callable[[], None]], None] | None = None,
        credentials: Callable[[str], Credentials | None] | None = None,
    ) -> ImageRecord:
        from engine.build import build
        from engine.build.execute import LateSteps, Steps

        self._check_host()

        def pull(reference: str, platform: str) -> ImageRecord:
            return self._pull_apart(reference, platform, progress, credentials)

        def network() -> Network:
            from engine.session.build_network import BuildNetwork

            return BuildNetwork(self.roots)

        def steps() -> Steps:
            from engine.build.container_run import ContainerRun

            return ContainerRun(self.roots, network)

        with LateSteps(steps) as run:
            if begun is not None:
                begun(run.cancel)
            return build(spec, images=self._images, run=run, pull=pull, progress=progress)

    def build_records(self) -> list[BuildRecord]:
        from engine.build import journal

        return journal.records(self.roots)

    def build_events(self, ref: str) -> list[dict[str, Any]]:
        from engine.build import journal

        return list(journal.events(self.roots, ref))

    def forget_build(self, ref: str) -> None:
        from engine.build import journal

        journal.remove(self.roots, ref)

    def check_build(self, spec: BuildSpec) -> list[BuildWarning]:
        from engine.build import examine

        return examine(spec, images=self._images)

    def outline_build(self, spec: BuildSpec) -> Outline:
        from engine.build import outline_of

        return outline_of(spec, images=self._images)

    def build_targets(self, spec: BuildSpec) -> Targets:
        from engine.build import targets

        return targets(spec, images=self._images)

    def context_paths(self, dockerfile: str, contexts: Mapping[str, str]) -> list[str] | None:
        from engine.build import context_paths_of

        return context_paths_of(dockerfile, contexts, images=self._images)

    def _pull_apart(
        self,
        reference: str,
        platform: str,
        progress: Progress | None,
        credentials: Callable[[str], Credentials | None] | None,
    ) -> ImageRecord:
        """A pull with a database connection of its own: builds pull from whichever thread needs the image."""
        other = Engine(self.roots)
        try:
            from engine.image.reference import parse

            given = credentials(parse(reference).registry) if credentials is not None else None
            return other.pull(reference, platform=platform, progress=progress, given=given)
        finally:
            other._store.close()

    def tag_image(self, reference: str, tag: str) -> None:
        self._images.tag(reference, tag)

    def remove_image(self, reference: str, *, force: bool = False, platforms: Sequence[str] = ()) -> list[str]:
        from engine.image import gc, variant_removal

        if platforms:
            lines = variant_removal.remove(self._images, reference, platforms, force=force)
        else:
            lines = self._images.remove(reference, force=force)
        gc.collect(self._images)
        return lines

    # ── streams ──────────────────────────────────────────────────────────────────────────────────────────────────

    def logs(
        self, group: str, container_id: str, *, since: int = 0, until: int = 0, tail: int | None = None
    ) -> LogReader:
        from engine.container.log_reader import LogReader

        return LogReader(self.roots.container(group, container_id), since=since, until=until, tail=tail)

    def watch(self, group: str) -> GroupWatch:
        from engine.watch.group import GroupWatch

        return GroupWatch(self.roots, group)

    def watch_groups(self) -> GroupsWatch:
        from engine.watch.group import GroupsWatch

        return GroupsWatch(self.roots)

    def watch_files(self, paths: Sequence[str], *, skip: Callable[[str], bool]) -> TreeWatch:
        from engine.watch.tree import TreeWatch

        return TreeWatch(paths, skip=skip)

    def exec_process(
        self, group: str, container_id: str, spec: ExecSpec, *, stdio: tuple[int, int, int]
    ) -> ExecProcess:
        from engine.session.process import ExecProcess

        return ExecProcess(self.roots, group, container_id, spec, stdio)

    def check_user(self, group: str, container_id: str, user: str) -> None:
        from engine.container.user import check_user

        check_user(self._images, self._container(group, container_id), user)

    def attach(self, group: str, container_id: str, *, stdin: bool = True) -> AttachedProcess:
        from engine.session.process import AttachedProcess

        return AttachedProcess(self.roots, group, container_id, stdin=stdin)

    def stats(self, group: str, container_id: str) -> ContainerStats:
        from engine.container.stats import read_stats

        return read_stats(self.roots, self._container(group, container_id))

    def export(self, group: str, container_id: str, output: int) -> None:
        from engine.container.export import export

        export(self._images, self._container(group, container_id), output)

    def export_image(self, reference: str, output: int) -> None:
        from engine.container.export import export_image

        export_image(self._images, reference, output)

    def changes(self, group: str, container_id: str) -> list[tuple[str, str]]:
        from engine.container.changes import changes

        return changes(self._images, self._container(group, container_id))

    def copy_out(self, group: str, container_id: str, path: str, output: int, *, follow: bool = False) -> None:
        from engine.container.copy import copy_out

        copy_out(self._images, self._container(group, container_id), path, output, follow=follow)

    def path_status(self, group: str, container_id: str, path: str) -> PathStatus:
        from engine.container.copy import path_status

        return path_status(self._images, self._container(group, container_id), path)

    def copy_in(
        self, group: str, container_id: str, path: str, input: int, *, as_user: bool = False, tree: str = ""
    ) -> None:
        from engine.container.copy import copy_in

        copy_in(self._images, self._container(group, container_id), path, input, as_user=as_user, tree=tree)

    def pack_local(self, path: str, label: str, output: int, *, follow: bool = False) -> None:
        from engine.container.copy_local import pack_local

        pack_local(path, label, output, follow=follow)

    def unpack_local(
        self, input: int, folder: str, rename: Callable[[str], str], *, archive: bool = False
    ) -> list[str]:
        from engine.container.copy_local import unpack_local

        return unpack_local(input, folder, rename, archive=archive)

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
        from engine.build.amend import amend
        from engine.container.commit import commit

        record = self._container(group, container_id)
        return commit(
            self._images,
            record,
            reference,
            author=author,
            message=message,
            amend=lambda config: amend(config, changes),
        )

    # ── changes ──────────────────────────────────────────────────────────────────────────────────────────────────

    def prepare(self, group: str) -> None:
        if not os.path.exists(self.roots.keeper_socket(group)):
            from engine.keeper.launch import Launch

            with contextlib.suppress(Unsupported):  # `session` says so
                self._check_host()
                self._launches[group] = Launch(self.roots, group)

    def _check_host(self) -> None:
        """Check once whether this machine supports containers. Raises Unsupported."""
        if not self._suitable:
            from engine import host

            host.check(self.roots)
            self._suitable = True

    async def session(self, group: str, tasks: TaskGroup, *, supervisor: Sequence[str] = ()) -> Session:
        from engine.session.session import Session

        self._check_host()
        return Session(self.roots, group, tasks, supervisor, self._launches.pop(group, None))
