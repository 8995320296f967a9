"""Compare networks and published ports, in one run: how long `up` and `down` take for many.

    bench/networks.py composer=.venv/bin/composer docker="docker compose" [RUNS]

Each argument is NAME=COMMAND. Shown are medians of RUNS in seconds, and by how much the first tool is faster than the second:
one network with 50 containers, without and with a port each; one service with 200 ports; 100 and 300 networks with 10 containers.
It needs root, and the image bench/busybox:1, which bench/compose.py makes.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict

IMAGE = "image: 'bench/busybox:1', command: [sleep, '86400'], stop_signal: SIGKILL"
CONTAINERS = 10


def endpoints(count: int, first: int = 0) -> str:
    """Services on one network; with a published port each, from `first` on."""
    ports = [f", ports: ['{first + number}:80']" if first else "" for number in range(count)]
    return "services:\n" + "".join(f"  s{number}: {{{IMAGE}{port}}}\n" for number, port in enumerate(ports))


def many_ports(count: int, first: int) -> str:
    return f"services: {{s: {{{IMAGE}, ports: ['{first}-{first + count - 1}:1001-{1000 + count}']}}}}\n"


def networks(count: int) -> str:
    """Networks with fixed subnets, distributed over ten services."""
    share = count // CONTAINERS
    services = ""
    for number in range(CONTAINERS):
        mine = ", ".join(f"n{index}" for index in range(number * share, (number + 1) * share))
        services += f"  s{number}: {{{IMAGE}, networks: [{mine}]}}\n"
    subnets = [f"10.{100 + index // 250}.{index % 250}.0/24" for index in range(count)]
    lines = "".join(f"  n{i}: {{ipam: {{config: [{{subnet: {subnet}}}]}}}}\n" for i, subnet in enumerate(subnets))
    return f"services:\n{services}networks:\n{lines}"


def cases(tool: int) -> dict[str, str]:
    """Tools that run at the same time publish different ports."""
    first = 23000 + 1000 * tool
    return {
        "50 containers": endpoints(50),
        "50 containers with a port each": endpoints(50, first),
        "a service with 200 ports": many_ports(200, first + 100),
        "100 networks": networks(100),
        "300 networks": networks(300),
    }


def timed(*command: str) -> float:
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{shlex.join(command)}: {done.stdout}{done.stderr}")
    return time.perf_counter() - begun


def main() -> None:
    tools = [one.partition("=")[::2] for one in sys.argv[1:] if "=" in one]
    runs = next((int(one) for one in sys.argv[1:] if one.isdecimal()), 5)
    wanted = os.environ.get("CASES", "").split(",")
    if not tools:
        sys.exit(__doc__)
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(0):
            if wanted != [""] and case not in wanted:
                continue
            for _ in range(runs):
                for number, (name, command) in enumerate(tools):
                    path = f"{folder}/compose.yaml"
                    with open(path, "w", encoding="utf-8") as file:
                        file.write(cases(number)[case])
                    words = [*shlex.split(command), "-p", "bench-networks", "-f", path]
                    found[case, "up"][name].append(timed(*words, "up", "-d"))
                    found[case, "down"][name].append(timed(*words, "down", "-t", "0"))
            for what in ("up", "down"):
                of = {name: statistics.median(times) for name, times in found[case, what].items()}
                first, *others = of.values()
                ratio = others[0] / first if others else 1
                shown = "  ".join(f"{name} {value:7.2f}" for name, value in of.items())
                print(f"{case:32} {what:5} {shown}  {ratio:5.1f}", flush=True)


if __name__ == "__main__":
    main()
