"""Our command line and initial environment, which /proc/<pid>/cmdline and environ show."""

from __future__ import annotations

import ctypes


def erase() -> None:
    """Overwrite both with zeros in this process. os.environ keeps its copy."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    # proc_pid_stat(5): arg_start, arg_end, env_start and env_end are the fields 48 to 51; the first here is 3.
    places = [int(field) for field in fields[45:49]]
    for start, end in zip(places[::2], places[1::2], strict=True):
        ctypes.memset(start, 0, end - start)
