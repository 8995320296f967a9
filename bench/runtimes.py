"""The costs of the engine: one container compared with crun and runc, and many containers compared with few.

    bench/runtimes.py [--runs N] [--peers ENTER] [--many 10,50,500]

One: create, start, wait and remove a container that runs `true`, from a warm keeper; crun and runc do the same with
`run` on a root of the same files (ENTER runs a command where they are installed). All take turns; medians of N.
Many: containers that sleep are started side by side, listed and stopped: milliseconds per container, which should not grow
with their number, and memory of the keeper and of this process, which does the supervisor's work.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import engine_setup as setup
import msgspec

from engine.api import Engine
from engine.paths import Roots
from engine.session.session import Session
from engine.spec.container import Attachment
from engine.spec.network import NetworkSpec

TURN = 10
"""Consecutive containers before another tool's turn."""

LOOP = """
import subprocess, sys, time
tool, bundle, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in range(count):
    began = time.perf_counter()
    subprocess.run([tool, "run", "--bundle", bundle, f"bench{number}"], check=True, stdin=subprocess.DEVNULL)
    print(time.perf_counter() - began)
"""


class Peer:
    """crun or runc; `enter` runs a command where it is installed, with `folder` visible there as `seen`."""

    def __init__(self, name: str, enter: str, folder: Path, seen: str) -> None:
        self.name, self._enter, self._seen = name, enter, f"{seen}/{name}"
        bundle = folder / name
        (bundle / "rootfs").mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(setup.rootfs())) as tar:
            tar.extractall(bundle / "rootfs", filter="fully_trusted")
        self._run("sh", "-c", f"cd {self._seen} && {name} spec")
        config = json.loads((bundle / "config.json").read_text())
        config["process"] |= {"terminal": False, "args": ["/bin/true"]}
        config["root"]["readonly"] = False
        (bundle / "config.json").write_text(json.dumps(config))
        (bundle / "loop.py").write_text(LOOP)

    def times(self, count: int) -> list[float]:
        # crun refuses a hybrid hierarchy; in its own mount namespace it sees one of version 1.
        hide = 'mountpoint -q /sys/fs/cgroup/unified && umount -l /sys/fs/cgroup/unified; exec python3 "$@"'
        out = self._run("sh", "-c", hide, "sh", f"{self._seen}/loop.py", self.name, self._seen, str(count))
        return [float(line) for line in out.split()]

    def _run(self, *words: str) -> str:
        done = subprocess.run([self._enter, *words], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{self.name}: {done.stdout}{done.stderr}")
        return done.stdout


async def one(session: Session, count: int, samples: dict[str, list[float]]) -> None:
    for _ in range(count):
        began = time.perf_counter()
        record = await session.create(setup.spec("true"))
        created = time.perf_counter()
        await session.start(record.id)
        started = time.perf_counter()
        await setup.wait(session, record)
        waited = time.perf_counter()
        await session.remove(record.id)
        samples["create"].append(created - began)
        samples["start"].append(started - created)
        samples["wait"].append(waited - started)
        samples["composer"].append(waited - began)
        samples["composer, and removed"].append(time.perf_counter() - began)


def memory(pid: int) -> tuple[float, float]:
    """PSS and RSS in MB."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("Pss", "Rss"):
            found[name] = int(rest.split()[0]) / 1024
    return found["Pss"], found["Rss"]


def keeper(roots: Roots, session: Session) -> int:
    wanted = roots.keeper_socket(session.group).encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if wanted in Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0"):
                    return int(entry)
            except OSError:
                continue
    return os.getpid()


async def many(roots: Roots, count: int, network: bool) -> str:
    """A row: milliseconds per container to create, start and stop; to list all; PSS and RSS of the keeper, RSS per container."""
    async with setup.session(roots) as session:
        wanted = msgspec.structs.replace(setup.spec("sleep", "10000"), stop_signal="SIGKILL")
        if network:
            attachment = Attachment(
                network=(await session.create_network(NetworkSpec(name=f"{session.group}-net"))).spec.name
            )
            wanted = msgspec.structs.replace(wanted, network_mode="", networks=(attachment,))
        marks = [time.perf_counter()]
        made = [await session.create(msgspec.structs.replace(wanted, name=f"{wanted.name}-{n}")) for n in range(count)]
        marks.append(time.perf_counter())
        await asyncio.gather(*(session.start(record.id) for record in made))
        marks.append(time.perf_counter())
        assert len(Engine(roots).containers(session.group)) == count
        marks.append(time.perf_counter())
        pss, rss = memory(keeper(roots, session))
        marks.append(time.perf_counter())
        await asyncio.gather(*(session.stop(record.id) for record in made))
        marks.append(time.perf_counter())
        for record in made:
            await session.remove(record.id)
        marks.append(time.perf_counter())
        if network:
            await session.remove_network(f"{session.group}-net")
    create, start, listing, _, stop, remove = (b - a for a, b in itertools.pairwise(marks))
    cells = [count, "bridge" if network else "none"]
    cells += [f"{part / count * 1000:.1f}" for part in (create, start, listing, stop, remove)]
    return f"| {' | '.join(map(str, [*cells, f'{pss:.0f} / {rss:.0f}']))} |"


async def run(args: argparse.Namespace) -> None:
    with setup.roots() as roots, tempfile.TemporaryDirectory(prefix="bench-", dir=args.shared or None) as name:
        seen = f"{args.seen or args.shared}/{Path(name).name}" if args.shared else name
        peers = [Peer(tool, args.peers, Path(name), seen) for tool in ("crun", "runc")] if args.peers else []
        samples: dict[str, list[float]] = {
            key: [] for key in ("composer", "composer, and removed", "create", "start", "wait", "crun", "runc")
        }
        async with setup.session(roots) as session:
            await one(session, 1, {key: [] for key in samples})
            for _ in range(max(1, args.runs // TURN)):
                await one(session, TURN, samples)
                for peer in peers:
                    samples[peer.name] += peer.times(TURN)
        print("| one container | median ms | fastest ms |\n|---|---|---|")
        for key, found in samples.items():
            if found:
                print(f"| {key} | {setup.median_ms(found)} | {min(found) * 1000:.1f} |")
        print("\n| containers | network | create | start | list | stop | remove | keeper MB: PSS / RSS |", end="\n|")
        print("---|" * 8, flush=True)
        for count in filter(None, args.many.split(",")):
            for network in (False, True):
                print(await many(roots, int(count), network), flush=True)
        pss, rss = memory(os.getpid())
        print(f"\nms per container. This process: {pss:.0f} / {rss:.0f} MB. {setup.load()}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--peers", metavar="ENTER", default="", help="command that enters crun's and runc's root")
    parser.add_argument("--shared", metavar="FOLDER", default="", help="a folder that is visible there, too …")
    parser.add_argument("--seen", metavar="FOLDER", default="", help="… under this name")
    parser.add_argument("--many", default="10,50,500")
    args = parser.parse_args()
    setup.apart()
    asyncio.run(run(args))


if __name__ == "__main__":
    main()
