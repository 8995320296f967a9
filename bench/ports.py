"""Compare published ports, in one run: how long `up` takes for many, and how fast they answer.

    bench/ports.py composer=.venv/bin/composer docker@/proc/1/ns/net="docker compose"

Each argument is NAME=COMMAND, or NAME@FILE=COMMAND where the tool publishes in the network namespace open at FILE. Shown are
medians of RUNS: seconds of `up` and `down` of one service with PORTS ports, and for each address of the host requests a second,
one after the other and each with a connection of its own, with the median and the 99th percentile of their time in
milliseconds, and megabytes a second from the container and to it. It needs root, and the image bench/busybox:1, which
bench/compose.py makes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

RUNS, PORTS, REQUESTS, FIRST, STREAM = 5, 200, 500, 23000, 256
PROJECT = f"""services:
  web: {{image: 'bench/busybox:1', stop_signal: SIGKILL, ports: ['{FIRST}:80', '{FIRST + PORTS + 1}:81'],
    command: [sh, -c, 'truncate -s {STREAM}M /big; nc -ll -p 81 -e sh -c "cat > /dev/null" & exec httpd -f -p 80 -h /']}}
  many: {{image: 'bench/busybox:1', command: [sleep, '86400'], stop_signal: SIGKILL,
    ports: ['{FIRST + 1}-{FIRST + PORTS}:{FIRST + 1}-{FIRST + PORTS}']}}
"""


@contextmanager
def within(namespace: str) -> Iterator[None]:
    """Path of the network namespace; "" for our own."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as home:
        if namespace:
            with open(namespace) as there:
                if libc.setns(there.fileno(), 0x40000000):
                    sys.exit(f"setns: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            libc.setns(home.fileno(), 0x40000000)


def addresses() -> list[str]:
    """Loopback addresses, and one that other machines would use."""
    found = ["127.0.0.1", "::1"]
    for version in ("-4", "-6"):
        shown = subprocess.run(
            ["ip", "-br", version, "address", "show", "up", "scope", "global"], capture_output=True, text=True
        )
        words = [line.split() for line in shown.stdout.splitlines()]
        real = [w[2].partition("/")[0] for w in words if len(w) > 2 and not w[0].startswith(("cmp-", "br-", "docker"))]
        found += real[:1]
    return found


def requests(address: str) -> tuple[float, float, float]:
    """(requests a second, median and 99th percentile in milliseconds)"""
    times = []
    for _ in range(REQUESTS):
        begun = time.perf_counter()
        with socket.create_connection((address, FIRST), 10) as sock:
            sock.sendall(b"GET /none HTTP/1.0\r\n\r\n")
            while sock.recv(4096):
                pass
        times.append(time.perf_counter() - begun)
    return REQUESTS / sum(times), statistics.median(times) * 1000, statistics.quantiles(times, n=100)[-1] * 1000


def received(address: str) -> float:
    """Megabytes a second from the container."""
    begun = time.perf_counter()
    with socket.create_connection((address, FIRST), 10) as sock:
        sock.sendall(b"GET /big HTTP/1.0\r\n\r\n")
        size = sum(len(data) for data in iter(lambda: sock.recv(1 << 20), b""))
    assert size > STREAM << 20, size
    return STREAM / (time.perf_counter() - begun)


def sent(address: str) -> float:
    """Megabytes a second to the container."""
    block = bytes(1 << 20)
    begun = time.perf_counter()
    with socket.create_connection((address, FIRST + PORTS + 1), 10) as sock:
        for _ in range(STREAM):
            sock.sendall(block)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1):
            pass
    return STREAM / (time.perf_counter() - begun)


def ready(address: str) -> None:
    """Wait until the container answers; a proxy accepts connections earlier."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection((address, FIRST), 1) as sock:
            sock.sendall(b"GET /none HTTP/1.0\r\n\r\n")
            if sock.recv(1):
                return
        time.sleep(0.05)


def timed(*command: str) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    tools = [one.partition("=")[::2] for one in sys.argv[1:]]
    if not tools:
        sys.exit(__doc__)
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    answers: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/compose.yaml", "w") as file:
            file.write(PROJECT)
        for _ in range(RUNS):
            for named, command in tools:
                name, _, namespace = named.partition("@")
                line = [*shlex.split(command), "-p", f"benchports{name}", "-f", f"{folder}/compose.yaml"]
                try:
                    times[name, "up"].append(timed(*line, "up", "-d"))
                    with within(namespace):
                        for address in addresses():
                            ready(address)
                            row = (*requests(address), received(address), sent(address))
                            answers[name, address].append(row)
                finally:
                    times[name, "down"].append(timed(*line, "down", "-t", "0"))
    for (name, step), seconds in times.items():
        print(f"{step:16} {name:10} {statistics.median(seconds):8.2f} s")
    for (name, address), results in answers.items():
        rate, middle, slowest, fro, to = (statistics.median(column) for column in zip(*results, strict=True))
        print(
            f"{address:16} {name:10} {rate:8.0f}/s  p50 {middle:6.2f}  p99 {slowest:6.2f} ms  {fro:6.0f} {to:6.0f} MB/s"
        )


if __name__ == "__main__":
    main()
