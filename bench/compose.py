"""Compare compose command lines with each other, in one run.

    bench/compose.py composer=.venv/bin/composer docker="docker compose" plugin=~/.docker/cli-plugins/docker-compose

Each argument is NAME=COMMAND; the first is the one that the others are compared with. Every step is measured RUNS
times, the tools taking turns, and the median is shown. In a column "edited" a comment of the compose file was changed
just before the command. Each tool builds the image from busybox-static, so that no registry is needed. Memory is that
of the tool's own processes while 50 containers run, including daemons, but not the containers' processes: proportional
set size, see proc_pid_smaps_rollup(5).
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from pathlib import Path

IMAGE = "bench/busybox:1"
SIZES = (1, 10, 50)
DAEMONS = {"docker": ("dockerd", "containerd"), "docker-compose": ("dockerd", "containerd")}
"""Processes of a tool that run before any command, by the first word of its command."""

EDITED = ", edited"
"""Suffix of a tool's name: the compose file was edited before the command."""
SETTLED = 0.06
"""Seconds after which programs can rely on a file's time to detect the next change."""

Samples = dict[tuple[str, str], list[float]]


class Tool:
    """One compose command line."""

    def __init__(self, name: str, command: str) -> None:
        self.name, self.command = name, shlex.split(os.path.expanduser(command))
        if "/" in self.command[0]:
            self.command[0] = os.path.abspath(self.command[0])

    def run(self, folder: Path, *words: str) -> float:
        """Run one command in the directory of a project. Returns its duration in seconds. Raises SystemExit if it
        fails."""
        began = time.perf_counter()
        done = subprocess.run(
            [*self.command, *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600
        )
        took = time.perf_counter() - began
        if done.returncode:
            sys.exit(f"{shlex.join([*self.command, *words])} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return took

    def run_edited(self, folder: Path, *words: str) -> float:
        """The same, after changing a comment in the project's file."""
        file = folder / "compose.yaml"
        text = file.read_text().rpartition("# edited ")[0] or file.read_text()
        file.write_text(f"{text}# edited {time.time_ns()}\n")
        time.sleep(SETTLED)
        return self.run(folder, *words)

    def daemons(self) -> tuple[str, ...]:
        return DAEMONS.get(os.path.basename(self.command[0]), ())


def processes() -> dict[int, str]:
    """pid → name of every process in our own pid namespace, which does not contain the containers' processes."""
    ours = os.readlink("/proc/self/ns/pid")
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if os.readlink(f"/proc/{entry}/ns/pid") == ours and os.readlink(f"/proc/{entry}/exe"):
                found[int(entry)] = Path(f"/proc/{entry}/comm").read_text().strip()
        except OSError:
            continue  # it has exited, or is a kernel thread
    return found


def memory(pid: int) -> float:
    """Proportional set size in MB; 0 if the process has exited."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder


def image(folder: Path) -> Path:
    """A project whose only purpose is to build the image."""
    busybox = shutil.which("busybox") or sys.exit("busybox-static is needed")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    folder.mkdir()
    with tarfile.open(folder / "rootfs.tar", "w") as tar:
        for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(busybox, "bin/busybox")
        for name in applets:
            if name != "busybox":
                entry = tarfile.TarInfo(f"bin/{name}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(entry)
    write(folder, "Dockerfile", 'FROM scratch\nADD rootfs.tar /\nCMD ["/bin/sh"]\n')
    return write(folder, "compose.yaml", f"services: {{image: {{build: ., image: '{IMAGE}'}}}}\n")


def many(folder: Path, count: int) -> Path:
    """A project of `count` services that do nothing."""
    service = f"{{image: '{IMAGE}', command: [sleep, '86400'], stop_signal: SIGKILL}}"
    return write(folder, "compose.yaml", "services:\n" + "".join(f"  s{i}: {service}\n" for i in range(1, count + 1)))


def chain(folder: Path, depth: int) -> Path:
    """A project of services each of which waits until the one before it is healthy."""
    text = "services:\n"
    for i in range(1, depth + 1):
        text += f"  s{i}:\n    image: '{IMAGE}'\n    command: [sleep, '86400']\n    stop_signal: SIGKILL\n"
        text += "    healthcheck: {test: [CMD, 'true'], interval: 1s, start_period: 10s, start_interval: 100ms}\n"
        if i > 1:
            text += f"    depends_on: {{s{i - 1}: {{condition: service_healthy}}}}\n"
    return write(folder, "compose.yaml", text)


def measure(tool: Tool, size: int, project: Path, samples: Samples, *, weigh: bool) -> None:
    """One turn of one tool with one size; `weigh` also measures memory."""
    before = set(processes())
    many_or_one = f"{size} service{'s' if size > 1 else ''}"
    try:
        samples[f"`up -d`, {many_or_one}", tool.name].append(tool.run(project, "up", "-d"))
        samples[f"`up -d` again (nothing to do), {many_or_one}", tool.name].append(tool.run(project, "up", "-d"))
        samples[f"`up -d` again (nothing to do), {many_or_one}", tool.name + EDITED].append(
            tool.run_edited(project, "up", "-d")
        )
        samples[f"`config`, {many_or_one}", tool.name].append(tool.run(project, "config"))
        samples[f"`ps`, {many_or_one}", tool.name].append(tool.run(project, "ps"))
        samples[f"`exec -T s1 true`, {many_or_one}", tool.name].append(tool.run(project, "exec", "-T", "s1", "true"))
        if weigh:
            own = [pid for pid, name in processes().items() if pid not in before or name in tool.daemons()]
            samples[f"memory (MB), {many_or_one}", tool.name].append(sum(map(memory, own)))
            samples[f"processes, {many_or_one}", tool.name].append(len(own))
    finally:
        took = tool.run(project, "down", "-v")
    samples[f"`down`, {many_or_one}", tool.name].append(took)
    try:
        samples[f"`up -d`, {many_or_one}", tool.name + EDITED].append(tool.run_edited(project, "up", "-d"))
    finally:
        tool.run(project, "down", "-v")


def table(tools: list[Tool], samples: Samples) -> str:
    """A table in Markdown; the other tools' figures are followed by their ratio to the first tool's."""
    first = tools[0].name
    columns = [tool.name for tool in tools] + [f"{tool.name} / {first}" for tool in tools[1:]]
    columns += [name + EDITED for name in columns]
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for step in dict.fromkeys(step for step, _ in samples):
        timed = step.startswith(("`", "chain"))
        cells = [
            cell
            for kind in ("", EDITED)
            for cell in _cells([samples.get((step, t.name + kind), []) for t in tools], timed)
        ]
        lines.append(f"| {step} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cells(samples: list[list[float]], timed: bool) -> list[str]:
    """Each tool's median, and its ratio to the first tool's; empty if nothing was measured."""
    if not all(samples):
        return [""] * (2 * len(samples) - 1)
    medians = [statistics.median(values) for values in samples]
    return [
        *(f"{m:.3f} s" if timed else f"{m:.0f}" for m in medians),
        *(f"{m / medians[0]:.1f}" if medians[0] else "" for m in medians[1:]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare compose command lines.")
    parser.add_argument("tools", nargs="+", metavar="NAME=COMMAND")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    args = parser.parse_args()
    tools = [Tool(*text.split("=", 1)) for text in args.tools if "=" in text or parser.error(f"{text}: NAME=COMMAND")]
    sizes = [int(size) for size in args.sizes.split(",")]
    samples: Samples = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        top = Path(name)
        source = image(top / "image")
        projects = {size: many(top / f"bench{size}", size) for size in sizes}
        line = chain(top / "benchchain", 5)
        for tool in tools:
            tool.run(source, "build")
        for turn in range(args.runs):
            for size in sizes:
                for tool in tools:
                    print(f"turn {turn + 1}, {size}: {tool.name}", file=sys.stderr)
                    measure(tool, size, projects[size], samples, weigh=size == max(sizes))
            for tool in tools:
                try:
                    samples["chain of 5 healthchecks, `up -d`", tool.name].append(tool.run(line, "up", "-d"))
                finally:
                    tool.run(line, "down", "-v")
    print(f"Medians of {args.runs}; {os.cpu_count()} cores, Linux {platform.release()}.\n")
    print(table(tools, samples))


if __name__ == "__main__":
    main()
