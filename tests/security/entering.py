"""A container that watches every process that enters it, as fast as it can, while processes enter in every way."""

import json

from tests.security.host import PYTHON

ENOUGH = 4
"""So many processes of composer must have been seen before they executed their program."""
WATCH = r"""
import json, os, sys
allowed = json.loads(sys.argv[1])
me, seen, found = os.getpid(), set(), set()
print("watching", flush=True)

def link(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""

def text(path):
    try:
        with open(path, "rb") as file:
            return file.read(4096).decode(errors="replace")
    except OSError:
        return ""

def ours(pid):
    # whether it is still a process of composer, which has not executed the program and has not ended
    words = text(f"/proc/{pid}/cmdline")
    return bool(words) and not words.strip("\0")

while not os.path.exists("/tmp/stop"):
    last = max(int(name) for name in os.listdir("/proc") if name.isdigit())
    for pid in range(max(last - 3, 2), last + 4):
        place = f"/proc/{pid}"
        words = text(place + "/cmdline")
        if pid == me or not words:
            continue
        if words.strip("\0"):  # it is a program, or a process of composer that says something
            if "keeper" in words or "composer" in words:
                found.add("the command line " + words)
            continue
        seen.add(pid)
        if len(seen) == ENOUGH:
            open("/tmp/enough", "w").close()
        for name in ("exe", "root", "cwd"):
            target = link(f"{place}/{name}")
            if target and ours(pid) and name not in allowed:
                found.add(f"{name} {target}")
        if text(place + "/environ") and ours(pid) and "environ" not in allowed:
            found.add("environment")
        for number in range(3, 64):
            target = link(f"{place}/fd/{number}")
            if target and ours(pid) and target.partition(":")[0] not in allowed:
                found.add(f"descriptor {number} {target}")
            for how in (os.O_RDONLY, os.O_WRONLY):
                try:
                    os.close(os.open(f"{place}/fd/{number}", how | os.O_NONBLOCK))
                except OSError:
                    continue
                if ours(pid):
                    found.add(f"an open descriptor {number} {target}")
print(json.dumps([len(seen), sorted(found)]), flush=True)
"""
"""argv[1]: the names of what may be seen. A process of composer has erased its command line, and then has an empty one
of some bytes."""


def files(*, allowed=(), **options):
    """compose.yaml with one service, the watcher; `options` are additional keys of it. The images need `busybox`."""
    service = {
        "image": "busybox", "stop_grace_period": "0s",
        "command": ["/usr/bin/python3", "-I", "-S", "-c", WATCH.replace("ENOUGH", str(ENOUGH)), json.dumps(allowed)],
        "volumes": [f"{mount.source}:{mount.target}:ro" for mount in PYTHON],
        "post_start": [{"command": ["/bin/true"]}] * 20 + [{"command": ["/bin/true"], "user": "1000"}] * 10,
        "healthcheck": {"test": ["CMD", "/bin/true"], "interval": "50ms", "start_period": "10s", "start_interval": "50ms"},
        **options,
    }  # fmt: skip
    return {"compose": json.dumps({"services": {"a": service}}).replace("$", "$$")}


def found(composer):
    """Let processes enter in every way, with `composer`, a function from a command's words to its result; returns what
    was seen of them before they executed their program."""
    composer("up", "-d", "--wait")
    for _ in range(3):
        composer("exec", "-d", "a", "/bin/true")
        composer("exec", "-T", "a", "/bin/true")
        composer("exec", "-T", "-u", "1000", "a", "/bin/true")
    # On a busy machine the watcher misses most of them, so more enter until it has seen enough.
    while composer("exec", "-T", "a", "test", "-e", "/tmp/enough", code=None).code:
        pass
    composer("exec", "-T", "a", "touch", "/tmp/stop")
    return json.loads(composer("logs", "-f", "--no-log-prefix", "a").out.splitlines()[-1])[1]
