"""Subordinate ids (subuid(5), subgid(5)): the user's ranges, and the maps that newuidmap(1) writes.

Inside, 0 is the user itself and 1… are the subordinate ids. Standard library only.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess

from engine.errors import Unsupported
from engine.kernel.idmap import Range

LEAST = 65536
"""Ids that images expect (nobody is 65534)."""

PATH = "/usr/bin:/usr/local/bin:/usr/sbin:/bin"


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def subordinate(kind: str, uid: int, name: str, folder: str = "/etc") -> list[tuple[int, int]]:
    """(first id, count) of each range of the user; `kind` is uid or gid. Raises Unsupported if there are too few."""
    path = f"{folder}/sub{kind}"
    found = []
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                fields = line.strip().split(":")
                if (
                    len(fields) == 3
                    and fields[0] in (name, str(uid))
                    and fields[1].isdecimal()
                    and fields[2].isdecimal()
                ):
                    found.append((int(fields[1]), int(fields[2])))
    except OSError:
        pass  # reported below
    total = sum(count for _, count in found)
    if total < LEAST:
        raise Unsupported(
            f"{name} has {total or 'no'} subordinate {kind}s in {path}; images need {LEAST}",
            hint=f"Ask root to run: usermod --add-sub{kind}s 100000-165535 {name}  (choose a range that no other user has)",
        )
    return found


def ranges(own: int, subordinates: list[tuple[int, int]]) -> list[Range]:
    """The map: 0 is `own`, followed by the subordinate ids in order."""
    found, inside = [(0, own, 1)], 1
    for first, count in subordinates:
        found.append((inside, first, count))
        inside += count
    return found


def tool(name: str) -> str:
    """The path of newuidmap or newgidmap, which are setuid root. Raises Unsupported if it is not installed."""
    path = shutil.which(name, path=PATH)
    if path is None:
        raise Unsupported(f"{name} is not installed; without it only root can run containers", hint=_INSTALL)
    return path


_INSTALL = "Ask root to run: apt install uidmap slirp4netns"


def write_maps(pid: int, uids: list[Range], gids: list[Range]) -> None:
    """Write the maps of the new user namespace of `pid`. Raises Unsupported with the tool's message."""
    for kind, own in (("uid", uids), ("gid", gids)):
        command = [tool(f"new{kind}map"), str(pid), *(str(number) for one in own for number in one)]
        done = subprocess.run(command, capture_output=True, text=True, env={"PATH": PATH, "LC_ALL": "C"})
        if done.returncode:
            raise Unsupported(
                f"{os.path.basename(command[0])}: {done.stderr.strip() or f'exit status {done.returncode}'}",
                hint=f"Are /etc/sub{kind} and the setuid bit of {command[0]} correct?",
            )
