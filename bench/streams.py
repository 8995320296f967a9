"""Compare the throughput of output and input through commands, in one run.

    bench/streams.py composer=.venv/bin/composer docker="docker compose"

Each argument is NAME=COMMAND. A program in a container writes SIZE, in lines of 100 bytes, to `exec -T`, `run -T` and `attach`,
or reads as much from them; at the other end of our pipe it is only counted. Shown are medians of RUNS in MB/s, start of the
command included, the tools taking turns. It needs root, and the image bench/busybox:1, which bench/compose.py makes.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict

RUNS, SIZE = 5, 256 << 20
LINE = b"0123456789" * 9 + b"abcdefghi\n"
BLOCK = LINE * 6500
PIECES, PIECE = 64, SIZE // 64
WRITE = f"yes {LINE.decode().strip()} | head -c {PIECE} > /tmp/x; for i in $(seq {PIECES}); do cat /tmp/x; done"
PROJECT = f"""services:
  idle: {{{{image: 'bench/busybox:1', command: [sleep, '86400'], stop_signal: SIGKILL}}}}
  waits: {{{{image: 'bench/busybox:1', command: [sh, -c, "read go; {WRITE.replace("$", "$$")}"], stdin_open: true,
    logging: {{{{driver: {{driver}}}}}}}}}}
"""
CASES = {
    "exec -T, output": (["exec", "-T", "idle", "sh", "-c", WRITE], False),
    "exec -T, input": (["exec", "-T", "idle", "sh", "-c", "cat > /dev/null"], True),
    "run -T, output": (["run", "--rm", "-T", "idle", "sh", "-c", WRITE], False),
    "run -T, input": (["run", "--rm", "-T", "idle", "sh", "-c", "cat > /dev/null"], True),
    "attach": (["attach", "waits"], False),
}


def measure(command: list[str], *, reads: bool, starts: bool) -> float:
    """MB/s. `reads`: the command reads SIZE; `starts`: it begins after a line of input."""
    begun = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stdout and process.stderr
        said = threading.Thread(target=process.stderr.read)
        said.start()
        if reads:
            left = SIZE
            while left:
                left -= os.write(process.stdin.fileno(), BLOCK[: min(left, len(BLOCK))])
        if starts:
            os.write(process.stdin.fileno(), b"\n")
        else:
            process.stdin.close()
        count = 0
        while data := os.read(process.stdout.fileno(), 1 << 20):
            count += len(data)
        process.wait()
        took = time.perf_counter() - begun
        said.join()
    if process.returncode or (not reads and count != SIZE):
        sys.exit(f"{shlex.join(command)} ended with {process.returncode} after {count} bytes")
    return SIZE / took / 1e6


def main() -> None:
    tools = {name: shlex.split(command) for name, _, command in (one.partition("=") for one in sys.argv[1:])}
    if not tools:
        sys.exit(__doc__)
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        lines = {}
        try:
            for name, command in tools.items():
                file = f"{folder}/{name}.yaml"
                with open(file, "w") as text:
                    text.write(PROJECT.format(driver="local"))
                lines[name] = [*command, "-p", f"benchstreams{name}", "-f", file]
                subprocess.run([*lines[name], "up", "-d", "idle"], check=True, capture_output=True)
            for _ in range(RUNS):
                for case, (words, reads) in CASES.items():
                    for name, line in lines.items():
                        if case == "attach":
                            subprocess.run(
                                [*line, "up", "-d", "--force-recreate", "waits"], check=True, capture_output=True
                            )
                        rate = measure([*line, *words], reads=reads, starts=case == "attach")
                        found[case, name].append(rate)
        finally:
            for line in lines.values():
                subprocess.run([*line, "down", "-t", "0"], capture_output=True)
    for (case, name), rates in found.items():
        print(f"{case:16} {name:10} {statistics.median(rates):7.0f} MB/s")


if __name__ == "__main__":
    main()
