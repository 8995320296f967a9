"""Compare how fast images are built, pushed, pulled, saved and loaded, in one run.

    bench/images.py composer=.venv/bin/composer docker="docker compose"
    bench/images.py composer=.venv/bin/composer docker="docker compose" --roots /dev/shm,/var/tmp --only push,gzip --mb 1000

Each argument is NAME=COMMAND; the first is the one that the others are compared with. The tools take turns, RUNS times
for each case. A row has the medians, and the median of the ratios of the turns, which a machine's changing load
disturbs less. Each of --roots makes a table of its own: Composer's state, the projects and the registry are below it, on a
tmpfs or a disk; a daemon's state stays where it is. No case begins another turn after --seconds.

What a tool needs before a case (an edited file, an image that must not be there yet) is prepared outside the measured
time. "First output" is the time until a command prints anything. The memory is the highest sum of the proportional set
sizes of a command of the first tool and its descendants (proc_pid_smaps_rollup(5)), sampled in a turn that is not
timed. Layers for the pulls are tars of this machine's /usr, as real images have them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from compose import IMAGE, SETTLED, Samples, Tool, image, memory, write
from image_registry import publish, registry

FILES = 5000
STEP = 0.02
"""Seconds between two samples of memory."""
COPY = "COPY . /to/"
NO_CACHE = ("build", "--no-cache")


class Bench:
    """The directory of all projects, the registry, and the results; `megabytes` is the size of the pulled image, and of
    the mounted tree. `weighing`: the turn measures memory instead of time."""

    def __init__(self, top: Path, registry: str, megabytes: int, seconds: float) -> None:
        self.top, self.registry, self.megabytes, self.seconds = top, registry, megabytes, seconds
        self.samples: Samples = defaultdict(list)
        self.weighing = False
        self.peaks: dict[tuple[str, str], float] = defaultdict(float)
        self.prefix = ""

    def project(self, tool: Tool, name: str, dockerfile: str, image: str = "") -> Path:
        """A project of one service that is built."""
        folder = self.top / f"{tool.name}-{name}"
        write(folder, "Dockerfile", f"FROM {IMAGE}\n{dockerfile}")
        named = f", image: '{image}'" if image else ""
        return write(folder, "compose.yaml", f"name: bench{tool.name}{name}\nservices: {{s: {{build: .{named}}}}}\n")

    def timed(
        self, case: str, tool: Tool, folder: Path, *words: str, command: list[str] | None = None, first: str = ""
    ) -> None:
        """Run the command and record its seconds or its memory; `first` is the name of a row for the first output."""
        line, row = [*(command or tool.command), *words], self.prefix + case
        began = time.perf_counter()
        with subprocess.Popen(
            line, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            output = _Output(process)
            while self.weighing and process.poll() is None:
                weight = sum(map(memory, descendants(process.pid)))
                self.peaks[row, tool.name] = max(self.peaks[row, tool.name], weight)
                time.sleep(STEP)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self.seconds)
            took = time.perf_counter() - began
            if process.poll() is None:
                process.kill()
                sys.exit(f"{' '.join(line)} took more than {self.seconds:.0f} seconds")
            text = output.all()
        if process.returncode:
            sys.exit(f"{' '.join(line)} ended with {process.returncode}:\n{text.decode()}")
        if not self.weighing:
            self.samples[row, tool.name].append(took)
            if first:
                self.samples[self.prefix + first, tool.name].append(output.first - began)


class _Output:
    """What a process prints, and when it printed first (time.perf_counter())."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        self._file, self.first, self._parts = process.stdout, time.perf_counter(), [b""]
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while data := os.read(self._file.fileno(), 1 << 16):
            if len(self._parts) == 1:
                self.first = time.perf_counter()
            self._parts.append(data)

    def all(self) -> bytes:
        self._thread.join()
        return b"".join(self._parts)


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


def steps(bench: Bench, tool: Tool) -> None:
    lines = "".join(f"RUN echo {number} > /step{number}\n" for number in range(6))
    folder = bench.project(tool, "steps", lines)
    bench.timed("build --no-cache, 6 RUN steps", tool, folder, *NO_CACHE, first="first output of build --no-cache")
    bench.timed("build, fully cached", tool, folder, "build", first="first output of build, fully cached")


def files(bench: Bench, tool: Tool) -> None:
    copies(bench, tool, FILES)


def files50k(bench: Bench, tool: Tool) -> None:
    copies(bench, tool, 10 * FILES)


def copies(bench: Bench, tool: Tool, count: int) -> None:
    folder = bench.project(tool, f"files{count}", COPY)
    many_files(folder, count)
    bench.timed(f"build, COPY of {count:,} new files", tool, folder, "build")
    bench.timed(f"build --no-cache, COPY of {count:,} files", tool, folder, *NO_CACHE)
    (folder / "d7" / "f7").write_text(f"edited {time.time_ns()}\n")
    time.sleep(SETTLED)
    bench.timed(f"build, COPY of {count:,} files, one edited", tool, folder, "build")
    bench.timed(f"build, COPY of {count:,} files, cached", tool, folder, "build")
    write(folder, ".dockerignore", "*\n!d7\n")
    bench.timed(f"build, .dockerignore leaves 2 % of {count:,} files", tool, folder, "build")
    (folder / ".dockerignore").unlink()
    for name in tree(folder):
        with open(name, "a") as file:
            file.write(f"{time.time_ns()}\n")
    time.sleep(SETTLED)


def contexts(bench: Bench, tool: Tool, name: str, dockerfile: str) -> Iterator[tuple[Path, str]]:
    """A project with one large file, and one with many files, both built once, and what they contain."""
    few = bench.project(tool, f"{name}big", dockerfile)
    random_file(few / "big", bench.megabytes)
    many = bench.project(tool, f"{name}many", dockerfile)
    many_files(many, FILES)
    for folder, what in ((few, f"{bench.megabytes} MB"), (many, "5,000 files")):
        tool.run(folder, "build")
        yield folder, what


def cold(bench: Bench, tool: Tool) -> None:
    """Contexts that are not in the page cache."""
    for folder, what in contexts(bench, tool, "cold", COPY):
        for case, words in (("build --no-cache, COPY", NO_CACHE), ("build, cached COPY", ("build",))):
            drop_cache(folder)
            bench.timed(f"{case} of {what}, cold page cache", tool, folder, *words)


def binds(bench: Bench, tool: Tool) -> None:
    for folder, what in contexts(bench, tool, "bind", "RUN --mount=type=bind,target=/from ls /from > /list"):
        bench.timed(f"build --no-cache, RUN with a bind mount of {what}", tool, folder, *NO_CACHE)


def push(bench: Bench, tool: Tool) -> None:
    """12 new layers of 2 MB, half of which compresses well."""
    nonce = f"{tool.name}{time.time_ns()}"
    lines = "".join(
        f"RUN echo {nonce} > /n{n} && head -c 1000000 /dev/urandom > /r{n} && seq {n}0000 {n}9999 | head -c 1000000 > /s{n}\n"
        for n in range(12)
    )
    folder = bench.project(tool, "push", lines, f"{bench.registry}/{tool.name}:{nonce}")
    tool.run(folder, "build")
    bench.timed("push of 12 new layers", tool, folder, "push")


def gzip(bench: Bench, tool: Tool) -> None:
    pulls(bench, tool, "gzip")


def zstd(bench: Bench, tool: Tool) -> None:
    pulls(bench, tool, "zstd")


def pulls(bench: Bench, tool: Tool, kind: str) -> None:
    archive, command = f"{bench.top}/{tool.name}.tar", images(tool)
    name, size = f"{bench.registry}/pulled-{kind}:1", f"{bench.megabytes} MB"
    folder = write(bench.top / f"{tool.name}-pull{kind}", "compose.yaml", f"services: {{s: {{image: '{name}'}}}}\n")
    remove(tool, name)
    bench.timed(f"pull of {size}, {kind}", tool, folder, "pull", first="first output of pull")
    if kind == "gzip":
        bench.timed(f"save of {size}", tool, folder, "save", "-o", archive, name, command=command)
        remove(tool, name)
        bench.timed(f"load of {size}", tool, folder, "load", "-i", archive, command=command)
        os.unlink(archive)
    remove(tool, name)


def busy(bench: Bench, tool: Tool) -> None:
    """Steps and a pull while another process writes to the disk and waits for it."""
    bench.prefix = "busy disk: "
    writer = "import os\nwhile 1:\n with open('busy', 'wb') as f:\n  f.write(bytes(1 << 24)); f.flush(); os.fsync(f)"
    with subprocess.Popen([sys.executable, "-c", writer], cwd=bench.top) as process:
        try:
            steps(bench, tool)
            pulls(bench, tool, "gzip")
        finally:
            process.kill()
            bench.prefix = ""


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
    bench.timed("build --no-cache, 4 services", tool, folder, *NO_CACHE)


CASES: dict[str, Callable[[Bench, Tool], None]] = {
    case.__name__: case for case in (steps, files, binds, push, gzip, zstd, several, cold, busy, files50k)
}


def many_files(folder: Path, count: int) -> None:
    if (folder / "d0").exists():
        return
    for number in range(count):
        path = folder / f"d{number % 50}"
        path.mkdir(exist_ok=True)
        (path / f"f{number}").write_text(f"file {number}\n" * 40)
    time.sleep(SETTLED)


def random_file(path: Path, megabytes: int) -> None:
    if not path.exists():
        with open(path, "wb") as file:
            for _ in range(megabytes):
                file.write(os.urandom(1 << 20))


def tree(folder: Path) -> Iterator[str]:
    """The files that `many_files` made."""
    return (entry.path for inner in os.scandir(folder) if inner.is_dir() for entry in os.scandir(inner.path))


def drop_cache(folder: Path) -> None:
    """Drop a context's content from the page cache."""
    subprocess.run(["sync", "-f", folder], check=True)  # pages that are not written yet stay
    for name in (*tree(folder), *(entry.path for entry in os.scandir(folder) if entry.is_file())):
        fd = os.open(name, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def images(tool: Tool) -> list[str]:
    """The command for images: `docker image` for `docker compose`."""
    return [*(tool.command[:-1] if tool.command[-1] == "compose" else tool.command), "image"]


def remove(tool: Tool, name: str) -> None:
    """Remove an image if it is there."""
    subprocess.run([*images(tool), "rm", name], capture_output=True, timeout=120)


def remove_leftovers(bench: Bench, tool: Tool) -> None:
    """Remove the built images, which a daemon keeps."""
    if not tool.daemons():
        return
    for pattern in (f"bench{tool.name}*", f"{bench.registry}/*"):
        listed = [*images(tool), "ls", "--format", "{{.Repository}}:{{.Tag}}", pattern]
        if names := subprocess.run(listed, capture_output=True, text=True).stdout.split():
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run([*images(tool), "rm", *names], capture_output=True, timeout=60)


# -- the run


def measure(bench: Bench, tools: list[Tool], cases: list[str], runs: int) -> None:
    """All turns of one case after another."""
    for name in cases:
        until = time.monotonic() + bench.seconds
        for turn in range(runs + 1):
            if turn > 1 and time.monotonic() > until:
                break
            bench.weighing = not turn
            for tool in tools:
                print(f"{name}, turn {turn}: {tool.name}", file=sys.stderr)
                CASES[name](bench, tool)


def table(tools: list[Tool], bench: Bench) -> str:
    """A table in Markdown; the ratios are of other tools' times to the first tool's."""
    first, others = tools[0].name, [tool.name for tool in tools[1:]]
    columns = [first, *others, *(f"{name} / {first}" for name in others), "turns", f"{first}, memory"]
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for row in dict.fromkeys(row for row, _ in bench.samples):
        taken = [bench.samples[row, tool.name] for tool in tools]
        ratios = [statistics.median(b / a for a, b in zip(taken[0], one, strict=False)) for one in taken[1:] if one]
        cells = [f"{statistics.median(one):.3f} s" if one else "" for one in taken]
        cells += [f"{ratio:.2f}" for ratio in ratios] + [str(len(taken[0]))]
        cells.append(f"{bench.peaks[row, first]:.0f} MB" if (row, first) in bench.peaks else "")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def run(root: str, tools: list[Tool], cases: list[str], args: argparse.Namespace) -> None:
    """Measure below `root`, and print the table."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=root) as name, contextlib.ExitStack() as stack:
        top = Path(name)
        os.environ["COMPOSER_STATE_ROOT"], os.environ["COMPOSER_RUN_ROOT"] = f"{name}/s", f"{name}/r"
        bench = Bench(top, stack.enter_context(registry(top)), args.mb, args.seconds)
        source = image(top / "image")
        for tool in tools:
            tool.run(source, "build")
            stack.callback(remove_leftovers, bench, tool)
        if {"gzip", "zstd", "busy"}.intersection(cases):
            publish(bench.registry, top, args.mb)
        with contextlib.suppress(KeyboardInterrupt):  # show the results so far
            measure(bench, tools, cases, args.runs)
        usage = shutil.disk_usage(top)
        print(
            f"Medians of up to {args.runs}; {os.cpu_count()} cores, Linux {platform.release()}, load before {load:.1f},"
            f" {usage.free >> 30} GB free in {root}.\n"
        )
        print(table(tools, bench), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare builds, pushes and pulls.")
    parser.add_argument("tools", nargs="+", metavar="NAME=COMMAND")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--mb", type=int, default=200, help="size of the pulled image and of the mounted file")
    parser.add_argument("--roots", default="/dev/shm", help="where Composer's state root and the projects go, by turns")
    parser.add_argument("--only", default=",".join(CASES), help=f"some of: {', '.join(CASES)}")
    parser.add_argument("--seconds", type=float, default=180, help="no case begins another turn after this time")
    args = parser.parse_args()
    tools = [Tool(*text.split("=", 1)) for text in args.tools if "=" in text or parser.error(f"{text}: NAME=COMMAND")]
    cases = args.only.split(",")
    if unknown := set(cases).difference(CASES):
        parser.error(f"unknown cases: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as ctrl-C: show the results so far, and clean up
    for root in args.roots.split(","):
        run(root, tools, cases, args)


if __name__ == "__main__":
    main()
