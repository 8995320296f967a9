"""Compare `config` of compose command lines with each other, in one run: 1, 50 and 500 services.

    bench/config.py composer=.venv/bin/composer docker="docker compose"

Each argument is NAME=COMMAND; the first is the one that the others are compared with. Every step is measured RUNS times, the
tools taking turns, and the median is shown.
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
from pathlib import Path

SIZES = (1, 50, 500)
RUNS = 5
STEPS = {
    "config": ("config",),
    "config -q": ("config", "-q"),
    "config --format json": ("config", "--format", "json"),
    "config --services": ("config", "--services"),
}

SERVICE = """\
  service-{number}:
    image: registry.example.com/team/app-{number}:${{TAG:-1.0}}
    command: ["serve", "--port", "80"]
    environment:
      NUMBER: "{number}"
      DATABASE: postgres://db/${{NAME}}
      LEVEL: info
    ports: ["{port}:80"]
    networks: [front, back]
    volumes: ["data:/data", "./conf:/etc/app:ro"]
    labels: {{team: a, number: "{number}"}}
    healthcheck: {{test: ["CMD", "true"], interval: 10s}}
    deploy: {{resources: {{limits: {{memory: 64m}}}}}}
    restart: unless-stopped
"""


def project(size: int) -> str:
    services = "".join(SERVICE.format(number=number, port=20000 + number) for number in range(size))
    return f"name: bench\nservices:\n{services}networks:\n  front:\n  back:\nvolumes:\n  data:\n"


def seconds(command: list[str], words: tuple[str, ...], folder: Path) -> float:
    """Run one command; raises SystemExit if it fails."""
    began = time.perf_counter()
    done = subprocess.run([*command, *words], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    took = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{shlex.join([*command, *words])} ended with {done.returncode}:\n{done.stderr}")
    return took


def main() -> None:
    tools = {}
    for argument in sys.argv[1:]:
        name, _, text = argument.partition("=")
        command = shlex.split(text)
        if "/" in command[0]:
            command[0] = os.path.abspath(command[0])
        tools[name] = command
    if not tools:
        sys.exit(__doc__)
    samples: dict[tuple[int, str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="bench-config-") as top:
        for size in SIZES:
            folder = Path(top, str(size))
            folder.mkdir()
            (folder / "compose.yaml").write_text(project(size))
            (folder / ".env").write_text("NAME=main\n")
            for _ in range(RUNS):
                for step, words in STEPS.items():
                    for name, command in tools.items():
                        samples[size, step, name].append(seconds(command, words, folder))
    first, *others = tools
    print(
        f"{'services':>8}  {'step':22}" + "".join(f"{name:>14}" for name in tools) + "".join("   ratio" for _ in others)
    )
    for size in SIZES:
        for step in STEPS:
            medians = {name: statistics.median(samples[size, step, name]) for name in tools}
            ratios = "".join(f"{medians[name] / medians[first]:>7.2f}×" for name in others)
            print(f"{size:>8}  {step:22}" + "".join(f"{medians[name] * 1000:>11.0f} ms" for name in tools) + ratios)


if __name__ == "__main__":
    main()
