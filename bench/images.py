"""Compare how fast images are built, pushed, pulled, saved and loaded, in one run.

    bench/images.py composer=.venv/bin/composer docker="docker compose"

Each argument is NAME=COMMAND; the first is the one that the others are compared with. Every case is measured RUNS
times, the tools taking turns, and the median is shown. A registry of the bench's own (docker-registry) listens on the
loopback interface. Composer uses a separate state root below --root, on a tmpfs or a disk. What a tool needs before a
case (an edited file, an image that must not be there yet) is prepared outside the measured time. The memory is the
highest sum of the proportional set sizes of a command and its descendants (proc_pid_smaps_rollup(5)), sampled in a turn
0 that is not timed; a daemon's is not in it. Layers for the pulls are tars of this machine's /usr, as real images have
them.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import zstandard
from compose import IMAGE, Samples, Tool, image, memory, table, write

FILES = 5000
LAYERS = 4
"""Layers of a pulled image."""
STEP = 0.02
"""Seconds between two samples of memory."""
COPY = "COPY . /to/"
OCI = "application/vnd.oci.image."


class Bench:
    """The directory of all projects, the registry, and the results; `megabytes` is the size of the pulled image, and of
    the mounted tree."""

    def __init__(self, top: Path, registry: str, megabytes: int) -> None:
        self.top, self.registry, self.megabytes = top, registry, megabytes
        self.samples: Samples = defaultdict(list)
        self.turn = 0
        self.peaks: dict[str, float] = defaultdict(float)

    def project(self, tool: Tool, name: str, dockerfile: str, image: str = "") -> Path:
        """A project of one service that is built."""
        folder = self.top / f"{tool.name}-{name}"
        write(folder, "Dockerfile", f"FROM {IMAGE}\n{dockerfile}")
        named = f", image: '{image}'" if image else ""
        return write(folder, "compose.yaml", f"name: bench{tool.name}{name}\nservices: {{s: {{build: .{named}}}}}\n")

    def timed(self, case: str, tool: Tool, folder: Path, *words: str, command: list[str] | None = None) -> None:
        """Run the command and record its seconds and its memory."""
        line = [*(command or tool.command), *words]
        began = time.perf_counter()
        with subprocess.Popen(
            line, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            output: list[bytes] = []
            assert process.stdout
            reader = threading.Thread(target=lambda: output.append(process.stdout.read()))  # type: ignore[union-attr]
            reader.start()
            while not self.turn:
                self.peaks[tool.name] = max(self.peaks[tool.name], sum(map(memory, descendants(process.pid))))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STEP)
                    break
            process.wait()
            took = time.perf_counter() - began
            reader.join()
        if process.returncode:
            sys.exit(f"{' '.join(line)} ended with {process.returncode}:\n{output[0].decode()}")
        if self.turn:
            self.samples[f"`{case}`", tool.name].append(took)


def descendants(pid: int) -> list[int]:
    """The process and its descendants."""
    found, new = [pid], [pid]
    while new:
        children: list[int] = []
        for one in new:
            with contextlib.suppress(OSError):
                for task in os.listdir(f"/proc/{one}/task"):
                    children += map(int, Path(f"/proc/{one}/task/{task}/children").read_text().split())
        found += children
        new = children
    return found


# -- cases: each prepares what it needs, and measures one or several commands


def builds(bench: Bench, tool: Tool) -> None:
    steps = "".join(f"RUN echo {number} > /step{number}\n" for number in range(6))
    folder = bench.project(tool, "steps", steps)
    bench.timed("build --no-cache", tool, folder, "build", "--no-cache")
    bench.timed("build, all of it cached", tool, folder, "build")


def copies(bench: Bench, tool: Tool) -> None:
    folder = bench.project(tool, "files", COPY)
    if not (folder / "d0").exists():
        many_files(folder)
    bench.timed("build, COPY of 5,000 new files", tool, folder, "build")
    bench.timed("build --no-cache, COPY of 5,000 files", tool, folder, "build", "--no-cache")
    (folder / "d7" / "f7").write_text(f"edited {time.time_ns()}\n")
    time.sleep(0.06)
    bench.timed("build, COPY of 5,000 files, one edited", tool, folder, "build")
    for number in range(FILES):
        with open(folder / f"d{number % 50}" / f"f{number}", "a") as file:
            file.write(f"{time.time_ns()}\n")
    time.sleep(0.06)


def binds(bench: Bench, tool: Tool) -> None:
    run = "RUN --mount=type=bind,target=/from ls /from > /list"
    few = bench.project(tool, "bindbig", run)
    if not (few / "big").exists():
        with open(few / "big", "wb") as file:
            for _ in range(bench.megabytes):
                file.write(os.urandom(1 << 20))
    many = bench.project(tool, "bindmany", run)
    if not (many / "d0").exists():
        many_files(many)
    for folder in (few, many):
        tool.run(folder, "build")
    bench.timed(f"build --no-cache, RUN with a bind mount of {bench.megabytes} MB", tool, few, "build", "--no-cache")
    bench.timed("build --no-cache, RUN with a bind mount of 5,000 files", tool, many, "build", "--no-cache")


def pushes(bench: Bench, tool: Tool) -> None:
    """12 new layers of 2 MB, half of which compresses well."""
    nonce = f"{tool.name}{bench.turn}{time.time_ns()}"
    lines = "".join(
        f"RUN echo {nonce} > /n{n} && head -c 1000000 /dev/urandom > /r{n} && seq {n}0000 {n}9999 | head -c 1000000 > /s{n}\n"
        for n in range(12)
    )
    folder = bench.project(tool, "push", lines, f"{bench.registry}/{tool.name}:{nonce}")
    tool.run(folder, "build")
    bench.timed("push of 12 new layers", tool, folder, "push")


def pulls(bench: Bench, tool: Tool) -> None:
    archive = f"{bench.top}/{tool.name}.tar"
    for kind in ("gzip", "zstd"):
        name = f"{bench.registry}/pulled-{kind}:1"
        folder = write(bench.top / f"{tool.name}-pull{kind}", "compose.yaml", f"services: {{s: {{image: '{name}'}}}}\n")
        bench.timed(f"pull of {bench.megabytes} MB, {kind}", tool, folder, "pull")
        if kind == "gzip":
            bench.timed(
                f"save of {bench.megabytes} MB", tool, folder, "save", "-o", archive, name, command=images(tool)
            )
        subprocess.run([*images(tool), "rm", name], check=True, capture_output=True)
        if kind == "gzip":
            bench.timed(f"load of {bench.megabytes} MB", tool, folder, "load", "-i", archive, command=images(tool))
            subprocess.run([*images(tool), "rm", name], check=True, capture_output=True)
    os.unlink(archive)


def several(bench: Bench, tool: Tool) -> None:
    """Four services, each with separate files and two steps."""
    folder = bench.top / f"{tool.name}-several"
    for name in "abcd":
        write(
            folder / name,
            "Dockerfile",
            f"FROM {IMAGE}\nCOPY text /\nRUN seq 100000 > /{name}\nRUN md5sum /{name} > /sum\n",
        )
        write(folder / name, "text", name)
    services = ", ".join(f"{name}: {{build: ./{name}}}" for name in "abcd")
    write(folder, "compose.yaml", f"name: bench{tool.name}several\nservices: {{{services}}}\n")
    bench.timed("build --no-cache of 4 services", tool, folder, "build", "--no-cache")


CASES: dict[str, Callable[[Bench, Tool], None]] = {
    "builds": builds,
    "copies": copies,
    "binds": binds,
    "pushes": pushes,
    "pulls": pulls,
    "several": several,
}


def many_files(folder: Path) -> None:
    for number in range(FILES):
        path = folder / f"d{number % 50}"
        path.mkdir(exist_ok=True)
        (path / f"f{number}").write_text(f"file {number}\n" * 40)
    time.sleep(0.06)


def images(tool: Tool) -> list[str]:
    """The command for images: `docker image` for `docker compose`."""
    return [*(tool.command[:-1] if tool.command[-1] == "compose" else tool.command), "image"]


# -- the registry


@contextlib.contextmanager
def registry(top: Path) -> Iterator[str]:
    """Run an empty registry. Returns its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    program = shutil.which("docker-registry") or shutil.which("registry") or sys.exit("docker-registry is needed")
    file = (
        write(
            top / "registry",
            "config.yml",
            f"""version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {top}/registry/data}}}}
http: {{addr: '{address}'}}
""",
        )
        / "config.yml"
    )
    with subprocess.Popen(
        [program, "serve", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(tuple(address.split(":"))):  # type: ignore[arg-type]
                    break
                time.sleep(0.05)
            yield address
        finally:
            process.terminate()


def publish(address: str, top: Path, megabytes: int) -> None:
    """Push the same image to the registry twice, with gzip and with zstd layers."""
    plain = list(tars(top, megabytes))
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(path.read_bytes()) for path in plain]},
        }
    ).encode()
    for kind in ("gzip", "zstd"):
        layers = []
        for path in plain:
            data = path.read_bytes()
            packed = zstandard.compress(data, 3) if kind == "zstd" else _gzip(data)
            layers.append(_blob(address, f"pulled-{kind}", f"{OCI}layer.v1.tar+{kind}", packed))
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}manifest.v1+json",
            "config": _blob(address, f"pulled-{kind}", f"{OCI}config.v1+json", config),
            "layers": layers,
        }
        body = json.dumps(manifest).encode()
        _send(f"http://{address}/v2/pulled-{kind}/manifests/1", "PUT", body, manifest["mediaType"])  # type: ignore[arg-type]
    for path in plain:
        path.unlink()


def tars(top: Path, megabytes: int) -> Iterator[Path]:
    """LAYERS tar archives of files below /usr, with that total size."""
    files = (
        os.path.join(folder, name)
        for start in ("/usr/lib", "/usr/share", "/usr/bin")
        for folder, _, names in sorted(os.walk(start))
        for name in sorted(names)
    )
    for number in range(LAYERS):
        path, left = top / f"layer{number}.tar", megabytes * 1_000_000 // LAYERS
        with tarfile.open(path, "w") as tar:
            while left > 0 and (name := next(files, None)):
                status = os.lstat(name)
                if status.st_size < left + 1_000_000:
                    with contextlib.suppress(OSError):
                        tar.add(name)
                    left -= status.st_size + 1024
        yield path


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _gzip(data: bytes) -> bytes:
    deflate = zlib.compressobj(6, zlib.DEFLATED, 31)
    return deflate.compress(data) + deflate.flush()


def _blob(address: str, name: str, media_type: str, data: bytes) -> dict[str, object]:
    begun = _send(f"http://{address}/v2/{name}/blobs/uploads/", "POST", b"", "")
    _send(f"{begun}&digest={digest(data)}", "PUT", data, "application/octet-stream")
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def _send(url: str, method: str, data: bytes, media_type: str) -> str:
    request = urllib.request.Request(url, data, {"Content-Type": media_type}, method=method)
    with urllib.request.urlopen(request) as answer:
        return str(answer.headers.get("Location", ""))


def remove_leftovers(bench: Bench, tool: Tool) -> None:
    """Remove the built images, which a daemon keeps."""
    if not tool.daemons():
        return
    for pattern in (f"bench{tool.name}*", f"{bench.registry}/*"):
        listed = [*images(tool), "ls", "--format", "{{.Repository}}:{{.Tag}}", pattern]
        if names := subprocess.run(listed, capture_output=True, text=True).stdout.split():
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run([*images(tool), "rm", *names], capture_output=True, timeout=5)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare builds, pushes and pulls.")
    parser.add_argument("tools", nargs="+", metavar="NAME=COMMAND")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--mb", type=int, default=200, help="size of the pulled image and of the mounted file")
    parser.add_argument("--root", default="/dev/shm", help="where Composer's state root and the projects go")
    parser.add_argument("--only", default="", help=f"some of: {', '.join(CASES)}")
    args = parser.parse_args()
    tools = [Tool(*text.split("=", 1)) for text in args.tools if "=" in text or parser.error(f"{text}: NAME=COMMAND")]
    cases = [CASES[name] for name in args.only.split(",")] if args.only else list(CASES.values())
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=args.root) as name, contextlib.ExitStack() as stack:
        top = Path(name)
        os.environ["COMPOSER_STATE_ROOT"], os.environ["COMPOSER_RUN_ROOT"] = f"{name}/s", f"{name}/r"
        bench = Bench(top, stack.enter_context(registry(top)), args.mb)
        source = image(top / "image")
        for tool in tools:
            tool.run(source, "build")
            stack.callback(remove_leftovers, bench, tool)
        if pulls in cases:
            publish(bench.registry, top, args.mb)
        with contextlib.suppress(KeyboardInterrupt):  # show the results so far
            for bench.turn in range(args.runs + 1):
                for case in cases:
                    for tool in tools:
                        print(f"turn {bench.turn}, {case.__name__}: {tool.name}", file=sys.stderr)
                        case(bench, tool)
        print(
            f"Medians of {args.runs}; {os.cpu_count()} cores, Linux {platform.release()}, load before {load:.1f}; {args.root}.\n"
        )
        for tool in tools:
            bench.samples["peak memory of a command (MB)", tool.name] = [bench.peaks[tool.name]]
        print(short(table(tools, bench.samples)))


def short(text: str) -> str:
    """The table without the columns for edited compose files, which this bench does not have."""
    lines = text.splitlines()
    width = lines[0].count("|") // 2 + 1
    return "\n".join("|".join(line.split("|")[:width]) + "|" for line in lines)


if __name__ == "__main__":
    main()
