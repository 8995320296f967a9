"""Everything on the machine that a project may have left behind: processes, mounts, links, rules, cgroups, files,
rows."""

import contextlib
import glob
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time

from engine.net.firewall import netlink
from tests.scenario.command import SESSION

TABLES = ("containers", "networks", "subnets", "addresses", "ports", "volumes")
KEPT = ("composer.db", "composer.db-wal", "composer.db-shm", "blobs", "layers", "cache")
PATIENCE = 10.0
"""Seconds within which the supervisor and the keeper must exit after the last container."""


def processes():
    """pid → description, of all processes in this session's mount namespace or in a container's cgroup."""
    here = os.readlink("/proc/self/ns/mnt")
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{entry}/stat") as file:
                state = file.read().rpartition(")")[2].split()[0]
            with open(f"/proc/{entry}/cgroup") as file:
                contained = re.search(rf"/composer[^/]*/{SESSION}", file.read())
            if state != "Z" and (contained or os.readlink(f"/proc/{entry}/ns/mnt") == here):
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    found[int(entry)] = file.read().replace(b"\0", b" ").decode(errors="replace")[:200]
    return found


def mounts():
    with open("/proc/self/mountinfo") as file:
        return {line.split()[4] for line in file}


def links():
    return {line.split(": ")[1].partition("@")[0] for line in output("ip", "-o", "link").splitlines()}


def rules():
    with netlink.Nfnetlink() as kernel:
        tables = {netlink.name_of(one[1]) for one in kernel.objects(netlink.GETTABLE)}
    return {f"nftables: {name}" for name in tables if name.startswith("composer-")} | {
        f"{tool}: {line}"
        for tool in ("iptables-save", "ip6tables-save")
        for line in output(tool).splitlines()
        if line.startswith("-A") or (line.startswith(":") and line.split()[1] == "-")
    }


def output(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout


def cgroups():
    return set(
        glob.glob(f"/sys/fs/cgroup/composer*/{SESSION}*/*/") + glob.glob(f"/sys/fs/cgroup/*/composer*/{SESSION}*/*/")
    )


def files(roots):
    found = {f"{roots.state}/{name}" for name in os.listdir(roots.state) if name not in KEPT}
    found = {path for path in found if not os.path.isdir(path) or os.listdir(path)}
    found |= {
        f"{folder}/{name}" for path in found for folder, folders, names in os.walk(path) for name in folders + names
    }
    if os.path.isdir(roots.run):
        found |= {f"{roots.run}/{name}" for name in os.listdir(roots.run)}
    return found


def described(path):
    """The content of a leaked file or folder, and the last lines of its logs, which show its origin."""
    lines = [path]
    for folder, _, names in os.walk(path):
        for name in sorted(names):
            lines.append(f"    {os.path.relpath(os.path.join(folder, name), path)}")
            if name.endswith((".log", ".lock")):
                with contextlib.suppress(OSError), open(os.path.join(folder, name), errors="replace") as file:
                    lines += [f"        {line}" for line in file.read().splitlines()[-10:]]
    return "\n".join(lines)


def rows(roots):
    with contextlib.closing(sqlite3.connect(roots.database)) as db:
        return {f"{table}: {row[0]}" for table in TABLES for row in db.execute(f"SELECT * FROM {table}")}


class Observed:
    """All of it at one point in time."""

    def __init__(self, sets):
        self.sets = sets

    @classmethod
    def now(cls, roots):
        found = processes()
        return cls(
            {
                "process": {f"{pid} {what}" for pid, what in found.items()},
                "mount": mounts(),
                "link": links(),
                "rule": rules(),
                "cgroup": cgroups(),
                "file": files(roots),
                "row": rows(roots),
            }
        )

    def leaks(self, roots):
        """One line for each new thing; waits briefly for things that are about to disappear."""
        deadline = time.monotonic() + PATIENCE
        while True:
            now = Observed.now(roots)
            left = [
                f"{kind} {described(one) if kind == 'file' else one}"
                for kind, ones in now.sets.items()
                for one in sorted(ones - self.sets[kind])
            ]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.02)

    def clean(self, roots):
        """Remove what a failed test left, so that the next ones are not blamed for it."""
        known = {int(one.split()[0]) for one in self.sets["process"]}
        for pid in processes():
            if pid not in known and pid != os.getpid():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        for link in links() - self.sets["link"]:
            output("ip", "link", "delete", link)
        for tool in ("iptables", "ip6tables"):
            for table in ("filter", "nat", "mangle"):
                output(tool, "-t", table, "-F")
                output(tool, "-t", table, "-X")
        for mount in sorted(mounts() - self.sets["mount"], reverse=True):
            output("umount", "-l", mount)
        for folder in cgroups() - self.sets["cgroup"]:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        for path in files(roots) - self.sets["file"]:
            shutil.rmtree(path, ignore_errors=True)
        with contextlib.closing(sqlite3.connect(roots.database)) as db:
            for table in reversed(TABLES):
                db.execute(f"DELETE FROM {table}")
            db.commit()


@contextlib.contextmanager
def nothing_left(roots):
    """Check that the block leaves nothing behind. If it does, or fails, the remains are removed, so that the next test
    is not blamed."""
    before = Observed.now(roots)
    try:
        yield
        left = before.leaks(roots)
        assert not left, "left behind:\n" + "\n".join(left)
    except BaseException:
        before.clean(roots)
        raise
