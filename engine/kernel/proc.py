"""What proc(5) says of a process. No ctypes, which a command that only reads need not load."""

from __future__ import annotations


def start_time(pid: int) -> int:
    """Clock ticks after boot at which `pid` started (proc_pid_stat(5), field 22); 0 when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return 0
    return int(text[text.rindex(b")") + 2 :].split()[19])
