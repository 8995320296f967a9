"""Reads proc(5) files of a process, without loading ctypes."""

from __future__ import annotations


def start_time(pid: int) -> int:
    """Clock ticks after boot at which `pid` started (proc_pid_stat(5), field 22); 0 if it does not exist."""
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def state(pid: int) -> str:
    """R runnable, S sleeping, D in uninterruptible sleep, T stopped … (proc_pid_stat(5), field 3); "" if there is no
    such process."""
    fields = _stat(pid)
    return fields[0].decode() if fields else ""


def has_executed(pid: int) -> bool:
    """Whether `pid` has called execve(2) since it was forked; also of a zombie (field 9, PF_FORKNOEXEC of linux/sched.h)."""
    fields = _stat(pid)
    return bool(fields) and not int(fields[6]) & 0x40


def _stat(pid: int) -> list[bytes]:
    """The fields of proc_pid_stat(5) from the third on."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return []
    return text[text.rindex(b")") + 2 :].split()
