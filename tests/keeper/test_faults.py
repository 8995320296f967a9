"""The keeper under faults: killed, stopped, without descriptors, disk or memory. Containers keep running, and no line
is lost."""

import asyncio
import os
import re
import resource
import signal
import subprocess

import pytest

from engine import control
from engine.errors import EngineError
from engine.log import writer
from engine.log.writer import Log

NUMBERS = 100_000
FORMATS = ("json-file", "local")


def keeper_pid(bench):
    """The pid of the listening keeper; None if none listens."""
    try:
        with control.connect(bench.roots.keeper_socket(bench.session.group)) as sock:
            return control.peer(sock)[0]
    except OSError:
        return None


def lines(bench, record, stream="stdout"):
    return "".join(entry.text for entry in bench.entries(record) if entry.stream == stream).split()


@pytest.mark.parametrize("driver", FORMATS)
def test_killed_while_output_flows(bench, driver):
    """kill -9, three times: no line is lost or duplicated; the exit code is known."""

    async def story(bench):
        stages = "".join(f"read x < /go; seq {n * NUMBERS + 1} {(n + 1) * NUMBERS}; " for n in range(3))
        script = f"{stages} printf half; read x < /go; echo ' a line'; exit 7"
        record = await bench.start(script, driver=driver, options={"max-size": "1g"})
        for _ in range(3):
            await bench.let_go(record)
            await killed_and_replaced(bench)
        await bench.let_go(record)
        assert await bench.end(record) == 7
        assert bench.text(record) == "".join(f"{n}\n" for n in range(1, 3 * NUMBERS + 1)) + "half a line\n"

    bench(story)


async def killed_and_replaced(bench):
    assert await bench.soon(lambda: keeper_pid(bench))
    killed = keeper_pid(bench)
    os.kill(killed, signal.SIGKILL)
    assert await bench.soon(lambda: keeper_pid(bench) not in (None, killed))


def test_a_terminal_outlives_its_keeper(bench):
    async def story(bench):
        record = await bench.start("echo before; read x < /go; echo after; exit 3", tty=True)
        assert await bench.soon(lambda: "before" in bench.text(record))
        await killed_and_replaced(bench)
        await bench.let_go(record)
        assert await bench.end(record) == 3
        assert bench.text(record) == "before\r\nafter\r\n"

    bench(story)


def test_stopped(bench):
    """SIGSTOP: the container only waits for its reader; afterwards its output is complete."""

    async def story(bench):
        record = await bench.start(f"read x < /go; seq 1 {NUMBERS}; echo done >&2")
        pid = keeper_pid(bench)
        os.kill(pid, signal.SIGSTOP)
        await bench.let_go(record)
        os.kill(pid, signal.SIGCONT)
        assert await bench.end(record) == 0
        assert lines(bench, record) == [*map(str, range(1, NUMBERS + 1))]
        assert lines(bench, record, "stderr") == ["done"]

    bench(story)


def test_no_descriptors(bench):
    """EMFILE: a start fails with the reason, running containers continue (their logs rotate or grow), and later all
    works again."""

    async def story(bench):
        record = await bench.start("read x < /go; seq 1 20000; read x < /go; echo end", options={"max-size": "50k"})
        pid = keeper_pid(bench)
        used = len(os.listdir(f"/proc/{pid}/fd"))
        hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, hard))
        with pytest.raises(EngineError, match=r"EMFILE|Too many open files"):
            await bench.run("true")
        await bench.let_go(record)
        assert await bench.soon(lambda: lines(bench, record)[-1:] == ["20000"])
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        await bench.let_go(record)
        assert await bench.end(record) == 0
        assert lines(bench, record)[-2:] == ["20000", "end"]
        assert (await bench.run("echo well")) and pid == keeper_pid(bench)

    bench(story)


@pytest.mark.parametrize("driver", FORMATS)
def test_full_disk(bench, driver):
    """ENOSPC: the container keeps running, and the log records how much is missing."""

    async def story(bench):
        folder = f"{bench.roots.groups}/{bench.session.group}"
        os.makedirs(folder, mode=0o711)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=True)
        try:
            record = await bench.start(
                f"seq 1 {NUMBERS}; read x < /go; echo end", driver=driver, options={"max-size": "10m"}
            )
            assert await bench.soon(lambda: not bench.children(record) and lines(bench, record), 30)
            subprocess.run(["mount", "-o", "remount,size=20m", folder], check=True)
            await bench.let_go(record)
            assert await bench.end(record) == 0
            *found, end = bench.text(record).splitlines()
            notes = [line for line in found if line.startswith("composer: ")]
            lost = sum(
                int(re.match(r"composer: (\d+) lines \(\d+ bytes\) of output were lost: write .*ENOSPC", n)[1])
                for n in notes
            )
            kept = [int(line) for line in found if line not in notes]
            assert 0 < lost == NUMBERS - len(kept) and kept == sorted(kept) and end == "end"
            await bench.session.remove(record.id)
        finally:
            subprocess.run(["umount", "-l", folder], check=False)
            os.removedirs(folder)

    bench(story)


def test_no_memory(bench):
    """A keeper that cannot get memory leaves output where it is until it can."""

    async def story(bench):
        record = await bench.start(f"read x < /go; seq 1 {NUMBERS}; echo done >&2")
        pid = keeper_pid(bench)
        with open(f"/proc/{pid}/statm") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        hard = resource.prlimit(pid, resource.RLIMIT_AS)[1]
        resource.prlimit(pid, resource.RLIMIT_AS, (size + (64 << 10), hard))
        await bench.let_go(record)
        await asyncio.sleep(0.3)  # the test is that nothing happens
        resource.prlimit(pid, resource.RLIMIT_AS, (hard, hard))
        assert await bench.end(record) == 0
        assert lines(bench, record) == [*map(str, range(1, NUMBERS + 1))]
        assert lines(bench, record, "stderr") == ["done"]
        assert pid == keeper_pid(bench)

    bench(story)


def test_the_clock_jumps(tmp_path, monkeypatch):
    """A small step back keeps the order; a big one is accepted."""
    now = 10**18
    monkeypatch.setattr(writer.time, "time_ns", lambda: now)
    settings = {
        "format": "local",
        "folder": str(tmp_path),
        "max_size": 0,
        "max_files": 1,
        "compress": False,
        "attrs": {},
    }
    log = Log(settings)
    stamps = []
    for now in (10**18, 10**18 - 5, 10**18 + 3, 10**18 - 10**13):  # noqa: B007
        stamps.append(log._now())
    assert stamps == [10**18, 10**18, 10**18 + 3, 10**18 - 10**13]
    log.close()
