"""Compare log drivers: how fast a flood of output from one container is recorded, and how late another's lines arrive
meanwhile.

    bench/logs.py [--size MIB] [--docker DOCKER_HOST [--shared FOLDER[:AS_DOCKERD_SEES_IT]]]

A container writes SIZE in lines of 100 bytes, and every byte is counted in its log afterwards. Another one receives the
time every 20 ms through a FIFO and prints it; a follower of its log records the age of each line on arrival. dockerd
takes turns with us when DOCKER_HOST is given; it needs the image bench/busybox:1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import engine_setup as setup

from engine.paths import Roots
from engine.spec.container import Mount
from engine.watch.group import GroupWatch

LINE = "0123456789" * 9 + "abcdefghi"
CLOCK = "exec cat /bench/fifo"
TICK = 0.02
DRIVERS = ("json-file", "local")
UNLIMITED = {"max-size": "8g"}


def flood(size: int) -> str:
    return f"yes {LINE} | head -c {size}"


class Clock:
    """Writes the time into a FIFO every TICK seconds, from `start` to `stop`."""

    def __init__(self, shared: str) -> None:
        self.folder = tempfile.mkdtemp(prefix="bench-clock-", dir=shared or None)
        self._path = f"{self.folder}/fifo"
        os.mkfifo(self._path)
        self._fd = os.open(self._path, os.O_RDWR)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick)

    def start(self) -> None:
        self._thread.start()

    def _tick(self) -> None:
        while not self._stop.wait(TICK):
            os.write(self._fd, b"%d\n" % time.time_ns())

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        os.close(self._fd)
        os.unlink(self._path)
        os.rmdir(self.folder)


class Result:
    """Results of one driver: seconds of the flood, bytes found in the log, ages of the other container's lines in
    seconds."""

    def __init__(self) -> None:
        self.seconds, self.recorded = 0.0, 0
        self.ages: list[float] = []

    def note(self, stamp: str) -> None:
        self.ages.append(time.time() - int(stamp) / 1e9)

    def row(self, name: str, size: int) -> str:
        ages = sorted(self.ages) or [0.0]
        cells = [
            name,
            f"{size / self.seconds / 1e6:.0f} MB/s",
            "all" if self.recorded == size else f"{self.recorded} of {size} bytes",
            f"{ages[len(ages) // 2] * 1000:.1f} ms",
            f"{ages[int(len(ages) * 0.99)] * 1000:.1f} ms",
            f"{ages[-1] * 1000:.1f} ms",
        ]
        return f"| {' | '.join(cells)} |"


async def ours(roots: Roots, driver: str, size: int) -> Result:
    result = Result()
    clock = Clock("")
    async with setup.session(roots) as session:
        mount = Mount(type="bind", source=clock.folder, target="/bench")
        wanted = setup.spec("sh", "-c", CLOCK, driver=driver, options=UNLIMITED)
        teller = await setup.run(session, msgspec.structs.replace(wanted, mounts=(mount,)))
        stop = threading.Event()

        def follow() -> None:
            watch = GroupWatch(roots, session.group)
            with contextlib.closing(setup.reader(session, teller)) as reader, contextlib.closing(watch):
                while not stop.is_set():
                    select.select([watch], [], [], 0.1)
                    watch.read()
                    for entry in reader.read():
                        result.note(entry.text)

        follower = threading.Thread(target=follow)
        follower.start()
        clock.start()
        began = time.perf_counter()
        writer = await setup.run(session, setup.spec("sh", "-c", flood(size), driver=driver, options=UNLIMITED))
        await setup.wait(session, writer)
        result.seconds = time.perf_counter() - began
        clock.stop()
        stop.set()
        follower.join()
        with contextlib.closing(setup.reader(session, writer)) as reader:
            while batch := reader.read():
                result.recorded += sum(len(entry.text) for entry in batch)
    return result


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


def dockers(driver: str, size: int, shared: str) -> Result:
    result = Result()
    options = ["-d", "--network", "none", "--log-driver", driver, "--log-opt", "max-size=8g", setup.IMAGE, "sh", "-c"]
    here, _, seen = shared.partition(":")
    clock = Clock(here)
    folder = f"{seen or here}/{Path(clock.folder).name}" if here else clock.folder
    teller = docker("run", "-v", f"{folder}:/bench", *options, CLOCK)
    with subprocess.Popen(["docker", "logs", "-f", teller], stdout=subprocess.PIPE, text=True) as process:

        def follow() -> None:
            assert process.stdout
            for line in process.stdout:
                result.note(line)

        follower = threading.Thread(target=follow)
        follower.start()
        clock.start()
        began = time.perf_counter()
        writer = docker("run", *options, flood(size))
        docker("wait", writer)
        result.seconds = time.perf_counter() - began
        clock.stop()
        docker("rm", "-f", teller)
        follower.join()
    count = subprocess.run(f"docker logs {writer} | wc -c", shell=True, check=True, capture_output=True, text=True)
    result.recorded = int(count.stdout)
    docker("rm", "-f", writer)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the flood")
    parser.add_argument("--docker", metavar="DOCKER_HOST", default="", help="compare with this dockerd")
    parser.add_argument("--shared", metavar="FOLDER[:SEEN]", default="", help="a folder that dockerd sees, too")
    args = parser.parse_args()
    size = args.size << 20
    setup.apart()
    print(
        "| driver | flood | recorded | other's lines: median | 99 % | oldest |\n|---|---|---|---|---|---|", flush=True
    )
    with setup.roots() as roots:
        for driver in DRIVERS:
            print(asyncio.run(ours(roots, driver, size)).row(f"composer {driver}", size), flush=True)
            if args.docker:
                os.environ["DOCKER_HOST"] = args.docker
                print(dockers(driver, size, args.shared).row(f"docker {driver}", size), flush=True)
    print(f"\n{args.size} MiB in lines of {len(LINE) + 1} bytes; {setup.load()}.")


if __name__ == "__main__":
    main()
