"""Compare how fast containers' names are resolved, in one run.

    bench/dns.py composer=.venv/bin/composer docker="docker compose"

Each argument is NAME=COMMAND. Two containers of each tool run at once; a client in the network namespace of one asks its server
at 127.0.0.11 for the other, with 1, 8 and 64 questions under way, for A and AAAA, the tools taking turns. Shown are medians
of RUNS: questions a second, the 99th percentile of the time to an answer, and questions that were never answered. It needs
root, and the image bench/busybox:1, which bench/compose.py makes.
"""

from __future__ import annotations

import os
import select
import shlex
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict

RUNS, QUESTIONS, PATIENCE = 5, 3000, 2.0
KINDS = {"A": 1, "AAAA": 28}
UNDER_WAY = (1, 8, 64)
PROJECT = """services:
  asker: {{image: 'bench/busybox:1', command: [sleep, '{mark}'], stop_signal: SIGKILL}}
  named: {{image: 'bench/busybox:1', command: [sleep, '86400'], stop_signal: SIGKILL}}
"""


def process(mark: str) -> int:
    """The pid of `sleep <mark>`."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                if file.read().split(b"\0")[-3:-1] == [b"sleep", mark.encode()]:
                    return int(entry)
        except OSError:
            continue
    sys.exit(f"no process sleep {mark}")


def client(pid: int) -> socket.socket:
    """A socket in the network namespace of `pid`, connected to its server."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as home, open(f"/proc/{pid}/ns/net") as there:
        if libc.setns(there.fileno(), 0x40000000):
            sys.exit(f"setns: {os.strerror(ctypes.get_errno())}")
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        libc.setns(home.fileno(), 0x40000000)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.connect(("127.0.0.11", 53))
    return sock


def measure(sock: socket.socket, kind: int, under_way: int) -> tuple[float, float, int]:
    """(questions a second, 99th percentile in milliseconds, questions lost)"""
    tail = struct.pack(">5H", 0x100, 1, 0, 0, 0) + b"\5named\0" + struct.pack(">HH", kind, 1)
    sent: dict[int, float] = {}
    times: list[float] = []
    begun, number = time.perf_counter(), 0
    while len(times) < QUESTIONS:
        while len(sent) < under_way and number < QUESTIONS:
            sent[number] = time.perf_counter()
            sock.send(struct.pack(">H", number) + tail)
            number += 1
        if not select.select([sock], [], [], PATIENCE)[0]:
            break
        answer = sock.recv(512)
        asked = sent.pop(int.from_bytes(answer[:2], "big"), None)
        if asked is not None:
            times.append(time.perf_counter() - asked)
    took = time.perf_counter() - begun
    slowest = statistics.quantiles(times, n=100)[-1] * 1000 if len(times) > 1 else float("inf")
    return len(times) / took, slowest, QUESTIONS - len(times)


def main() -> None:
    tools = {name: shlex.split(command) for name, _, command in (one.partition("=") for one in sys.argv[1:])}
    if not tools:
        sys.exit(__doc__)
    found: dict[tuple[str, str, int], list[tuple[float, float, int]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        up, sockets = [], {}
        try:
            for number, (name, command) in enumerate(tools.items()):
                file = f"{folder}/{name}.yaml"
                mark = str(90000 + os.getpid() % 1000 * 10 + number)
                with open(file, "w") as text:
                    text.write(PROJECT.format(mark=mark))
                line = [*command, "-p", f"benchdns{name}", "-f", file]
                up.append(line)
                subprocess.run([*line, "up", "-d"], check=True, capture_output=True)
                sockets[name] = client(process(mark))
            for _ in range(RUNS):
                for kind, value in KINDS.items():
                    for under_way in UNDER_WAY:
                        for name, sock in sockets.items():
                            found[name, kind, under_way].append(measure(sock, value, under_way))
        finally:
            for line in up:
                subprocess.run([*line, "down", "-t", "0"], capture_output=True)
    for (name, kind, under_way), results in found.items():
        rate, slowest, lost = (statistics.median(column) for column in zip(*results, strict=True))
        print(f"{kind:5} {under_way:3} under way  {name:10} {rate:8.0f}/s  p99 {slowest:7.2f} ms  lost {lost:.0f}")


if __name__ == "__main__":
    main()
