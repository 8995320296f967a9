"""RUN of a Dockerfile: a container of its own in a group of its own, driven from a thread that waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from engine.build.execute import RunRequest
from engine.cgroup.manager import Cgroups
from engine.container import bundle, capabilities, devices, etc
from engine.container.seccomp import compile as seccomp
from engine.errors import EngineError, InvalidSpec
from engine.keeper import client as keepers
from engine.keeper.client import KeeperClient
from engine.net import bridge
from engine.net.wiring import Wiring
from engine.paths import Roots
from engine.spec.container import Attachment, ContainerSpec
from engine.spec.image import ImageConfig, ImageRecord
from engine.spec.network import NetworkSpec
from engine.store import Store

NETWORK = "composer-build"
"""The network of RUN steps; it lives as long as a build that needs it."""


class BuildRun:
    """Implements engine.build.execute.RunStep. Keeper and network are made when the first RUN needs them; leaving the
    context takes everything away."""

    def __init__(self, roots: Roots) -> None:
        self.roots = roots
        self.group = f"build-{secrets.token_hex(6)}"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._keeper: KeeperClient | None = None
        self._network = False

    def __enter__(self) -> BuildRun:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._loop is None:
            return
        with contextlib.suppress(EngineError):
            self._await(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread:
            self._thread.join()

    def __call__(self, request: RunRequest, output: Callable[[bytes], None]) -> int:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
                self._thread.start()
                self._await(self._open())
        return self._await(self._run(request, output))

    def _await(self, work: Coroutine[Any, Any, Any]) -> Any:
        assert self._loop
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _open(self) -> None:
        self._store = Store(self.roots)
        self._wiring = Wiring(self._store)
        self._cgroups = Cgroups.detect()
        await asyncio.to_thread(keepers.start, self.roots, self.group)
        self._keeper = KeeperClient.connect(self.roots, self.group)
        if self._keeper is None:
            raise EngineError("the keeper of the build does not answer")
        await self._keeper.ask("watch")
        self._ends: dict[str, asyncio.Future[int]] = {}
        self._watcher = asyncio.ensure_future(self._watch(self._keeper))

    async def _watch(self, keeper: KeeperClient) -> None:
        async for message in keeper.exits():
            if future := self._ends.get(message["id"]):
                if not future.done():
                    future.set_result(message["exit"]["exit_code"])

    async def _close(self) -> None:
        if self._keeper:
            with contextlib.suppress(EngineError):
                await self._keeper.ask("leave")
            self._keeper.close()
            self._watcher.cancel()
        if self._network:
            with contextlib.suppress(EngineError):
                await bridge.remove(self._store, NETWORK)
        self._cgroups.sweep(self.group, [])
        shutil.rmtree(f"{self.roots.run}/{self.group}", ignore_errors=True)
        self._store.close()

    async def _run(self, request: RunRequest, output: Callable[[bytes], None]) -> int:
        assert self._keeper
        container_id = secrets.token_hex(32)
        folder = self.roots.running(self.group, container_id)
        os.makedirs(folder, mode=0o700)
        spec = await self._spec(request)
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._ends[container_id] = ended
        handle = self._cgroups.create(
            self.group, container_id, spec.resources, device_rules=devices.rules(spec, devices.nodes(spec))
        )
        try:
            plans = self._wiring.lease(container_id, spec.networks)
            path = self._bundle(request, spec, container_id, folder, handle.procs, handle.folders)
            answer, _ = await self._keeper.ask("create", id=container_id, bundle=path)
            reader = await self._attach(container_id)
            await self._wiring.connect(container_id, answer["pid"], plans)
            copying = asyncio.ensure_future(_frames(reader, output))
            await self._keeper.ask("start", id=container_id)
            code = await ended
            await copying
            return code
        except BaseException:
            with contextlib.suppress(EngineError):
                await self._keeper.ask("signal", id=container_id, signal=9)
            raise
        finally:
            self._ends.pop(container_id, None)
            await self._wiring.disconnect(container_id)
            for _ in range(100):
                if handle.remove():
                    break
                handle.kill()
                await asyncio.sleep(0.01)
            shutil.rmtree(folder, ignore_errors=True)

    async def _attach(self, container_id: str) -> asyncio.StreamReader:
        assert self._keeper
        _, descriptors = await self._keeper.ask("attach", id=container_id)
        reader, _ = await asyncio.open_connection(sock=socket.socket(fileno=descriptors[0]))
        return reader

    async def _spec(self, request: RunRequest) -> ContainerSpec:
        mode = request.network_mode
        networks: tuple[Attachment, ...] = ()
        if mode in ("", "default", "bridge"):
            await bridge.create(self._store, NetworkSpec(name=NETWORK))
            self._network = True
            networks, mode = (Attachment(network=NETWORK),), ""
        elif mode not in ("host", "none"):
            if bridge.get(self._store, mode) is None:
                raise InvalidSpec(f"build.network {mode!r}: there is no such network")
            networks, mode = (Attachment(network=mode),), ""
        return ContainerSpec(
            name="build",
            image="",
            command=request.args,
            environment=dict(entry.partition("=")[::2] for entry in request.environment),
            working_dir=request.working_dir,
            user=request.user,
            mounts=request.mounts,
            network_mode=mode,
            networks=networks,
            extra_hosts=request.extra_hosts,
            shm_size=request.shm_size,
            ulimits=request.ulimits,
            privileged=request.privileged,
        )

    def _bundle(
        self,
        request: RunRequest,
        spec: ContainerSpec,
        container_id: str,
        folder: str,
        procs: list[str],
        folders: dict[str, str],
    ) -> str:
        bits = capabilities.effective((), (), privileged=spec.privileged)
        facts = bundle.Facts(
            folder=folder,
            run_folder=folder,
            layers_folder="/",
            hostname="buildkitsandbox",
            volumes={},
            images={},
            joined={},
            seccomp=seccomp.program(self.roots, (), bits, privileged=spec.privileged),
            devices=devices.nodes(spec),
            cgroup_procs=procs,
            cgroup_folders=folders,
            oom_files=[],
            unified=self._cgroups.unified,
        )
        found = bundle.make(spec, ImageRecord(id="", config=ImageConfig()), facts)
        found["rootfs"] |= {
            "layers": [path.lstrip("/") for path in request.lower],
            "upper": request.upper,
            "work": request.work,
        }
        # Names are resolved by the host's own servers: a RUN step has no neighbours to find.
        found["dns"] = False
        found["log"] = {"path": "", "max_size": 0, "max_files": 0}
        for name, text in (
            ("hosts", etc.hosts(spec, "buildkitsandbox", ())),
            ("hostname", "buildkitsandbox\n"),
            ("resolv.conf", etc.resolv_conf(spec, _host_resolv_conf(), embedded=False)),
            ("bundle.json", json.dumps(found)),
        ):
            with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
                file.write(text)
        return f"{folder}/bundle.json"


def _host_resolv_conf() -> str:
    with contextlib.suppress(OSError), open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
        return file.read()
    return ""


async def _frames(reader: asyncio.StreamReader, output: Callable[[bytes], None]) -> None:
    """The keeper's attach stream: 8-byte headers, then bytes."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            header = await reader.readexactly(8)
            output(await reader.readexactly(int.from_bytes(header[4:], "big")))
