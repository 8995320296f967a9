"""A separate engine for a benchmark: its own roots, a network namespace, the image `bench/busybox:1`."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import secrets
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator

from anyio import create_task_group

from engine.container.log_reader import LogReader
from engine.image.images import ImageStore
from engine.image.importing import import_rootfs
from engine.paths import Roots
from engine.session.session import Session
from engine.spec.container import ContainerSpec, Logging
from engine.spec.image import ImageConfig
from engine.spec.state import ContainerRecord
from engine.store import Store

IMAGE = "bench/busybox:1"
_NEWNS, _NEWNET, _REC, _PRIVATE = 0x00020000, 0x40000000, 0x4000, 0x40000


def apart() -> None:
    """Leave the machine's network and mounts alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEWNS | _NEWNET) or libc.mount(b"none", b"/", None, _REC | _PRIVATE, None):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def rootfs() -> bytes:
    """busybox-static and links of its applets, as a tar archive."""
    binary = shutil.which("busybox")
    if binary is None:
        raise SystemExit("busybox (static) is needed")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(binary, "bin/busybox")
        for name in subprocess.run([binary, "--list"], capture_output=True, text=True, check=True).stdout.split():
            if name != "busybox":
                entry = tarfile.TarInfo(f"bin/{name}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(entry)
    return out.getvalue()


@contextlib.contextmanager
def roots() -> Iterator[Roots]:
    with tempfile.TemporaryDirectory(prefix="be-") as folder:
        found = Roots(f"{folder}/s", f"{folder}/r")
        store = Store(found)
        config = ImageConfig(environment=("PATH=/bin",), command=("sh",))
        import_rootfs(ImageStore(store), io.BytesIO(rootfs()), tags=[IMAGE], config=config)
        store.close()
        yield found


@contextlib.asynccontextmanager
async def session(roots: Roots) -> AsyncIterator[Session]:
    """A session whose containers are removed at the end."""
    async with create_task_group() as tasks:
        made = Session(roots, f"bench{secrets.token_hex(3)}", tasks)
        await made.adopt()
        try:
            yield made
        finally:
            for container_id in list(made.records):
                await made.remove(container_id, force=True)
            await made.close()


def spec(*args: str, driver: str = "", options: dict[str, str] | None = None) -> ContainerSpec:
    logging = Logging(driver=driver, options=options or {})
    name = f"bench{secrets.token_hex(4)}"
    return ContainerSpec(name=name, image=IMAGE, command=args, network_mode="none", logging=logging)


async def run(session: Session, wanted: ContainerSpec) -> ContainerRecord:
    """Create and start a container; `wait` waits for its exit."""
    return await session.start((await session.create(wanted)).id)


async def wait(session: Session, record: ContainerRecord) -> None:
    event = session.ended.get(record.id)
    if event is not None:
        await event.wait()


def reader(session: Session, record: ContainerRecord) -> LogReader:
    return LogReader(session.folder(record.id))


def median_ms(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"{ordered[len(ordered) // 2] * 1000:.1f}" if ordered else "-"


def load() -> str:
    return f"{os.cpu_count()} cores, Linux {os.uname().release}, load {os.getloadavg()[0]:.1f}"
