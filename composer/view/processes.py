"""The processes of a container, read from /proc as ps(1) -ef shows them."""

from __future__ import annotations

import os
import re
import subprocess
import time

from composer.view.errors import Refusal

PATIENCE = 10.0
"""Seconds that ps(1) may take."""
_RENAMED = re.compile(r"=.*PID|\bpid=", re.I)
COLUMNS = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")


def processes(init: int) -> list[tuple[str, ...]]:
    """`init`, its descendants, and all processes in its PID namespace, by pid."""
    rows = []
    for pid in pids(init):
        try:
            rows.append(_row(pid, _stat(pid)))
        except OSError:
            continue
    return rows


def pids(init: int) -> list[int]:
    """The rows for a container's processes, in order."""
    try:
        namespace = os.readlink(f"/proc/{init}/ns/pid")
    except OSError:
        return []
    shared = namespace == os.readlink("/proc/self/ns/pid")
    family = {init}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
        try:
            inside = os.readlink(f"/proc/{pid}/ns/pid") == namespace
            if int(_stat(pid)[1]) in family or (inside and not shared):
                family.add(pid)
        except OSError:
            continue
    return sorted(family)


def ps_columns(init: int, arguments: str) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of the host's ps(1) with these arguments, for the container's processes. Raises Refusal."""
    words = arguments.split()
    if any(_RENAMED.search(word) for word in words):
        raise Refusal("ps_args must not rename the column PID, or others to it")
    try:
        done = subprocess.run(["ps", *words], capture_output=True, text=True, errors="replace", timeout=PATIENCE)
    except FileNotFoundError:
        raise Refusal("ps_args require ps(1), which is not installed on the host") from None
    except subprocess.TimeoutExpired:
        raise Refusal(f"ps {arguments} did not finish within {PATIENCE:g} s") from None
    if done.returncode:
        raise Refusal(f"ps: {done.stderr.strip().partition(chr(10))[0] or done.returncode}")
    lines = [line.split() for line in done.stdout.splitlines()]
    titles = lines[0] if lines else []
    if "PID" not in titles:
        raise Refusal("Couldn't find PID field in ps output")
    column, family, last = titles.index("PID"), {str(pid) for pid in pids(init)}, len(titles) - 1
    rows = [fields for fields in lines[1:] if len(fields) > column and fields[column] in family]
    return titles, [[*fields[:last], " ".join(fields[last:])] for fields in rows]


def _stat(pid: int) -> list[str]:
    """proc_pid_stat(5) from field 3 on."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def _row(pid: int, stat: list[str]) -> tuple[str, ...]:
    ticks = os.sysconf("SC_CLK_TCK")
    with open("/proc/uptime", encoding="ascii") as file:
        uptime = float(file.read().split()[0])
    used = (int(stat[11]) + int(stat[12])) / ticks
    age = max(uptime - int(stat[19]) / ticks, 0.001)
    began = time.localtime(time.time() - age)
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        name = file.read().strip()
    return (
        _user(os.stat(f"/proc/{pid}").st_uid),
        str(pid),
        stat[1],
        str(min(int(used / age * 100), 99)),
        time.strftime("%H:%M" if age < 86400 else "%b%d", began),
        _tty(int(stat[4])),
        time.strftime("%H:%M:%S", time.gmtime(used)),
        words or f"[{name}]",
    )


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _tty(number: int) -> str:
    """tty_nr: the major number in bits 15 to 8, the minor in 31 to 20 and 7 to 0; pseudo-terminals are 136 to 143."""
    if not number:
        return "?"
    major, minor = number >> 8 & 0xFFF, (number & 0xFF) | (number >> 12 & 0xFFF00)
    return f"pts/{minor + (major - 136) * 256}" if 136 <= major <= 143 else f"tty{minor}"
