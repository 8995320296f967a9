"""A container's cgroups: <hierarchy>/composer/<group>/<container id>, on v1 and v2. With a state root other than root's
default, the folder is composer-<eight digits of a hash>, so that projects of the same name do not collide.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence

import msgspec

import engine.rootless.client as rootless
from engine import digest
from engine.cgroup import devices, files, freezer, settings, unified
from engine.errors import InvalidSpec, OperationFailed, Unsupported
from engine.paths import USUAL, Roots
from engine.spec.container import Resources

FOLDER = "composer"
_ALWAYS_V1 = ("memory", "pids", "devices", "freezer", "cpu", "cpuacct", "blkio")
"""The controllers of every container on v1: for limits, accounting, device access, freezing. Others only if a limit
needs them."""

_ABANDONED = 600.0
"""Seconds after which a cgroup without a process cannot belong to a start in progress."""


def check_parent(parent: str) -> None:
    """Whether a cgroup can be named so. InvalidSpec."""
    if ".." in parent.split("/"):
        raise InvalidSpec(
            f"cgroup_parent {parent!r} is outside the cgroup file system",
            hint="Name a cgroup without '..' in its path.",
        )


class Handle:
    """The folders of one container's cgroups, by controller ("" for the unified one)."""

    def __init__(self, folders: dict[str, str]) -> None:
        self.folders = folders

    @property
    def procs(self) -> list[str]:
        """Files to which a single-threaded process writes "0" to join the cgroups. On v1 that is `tasks`: moving only
        the own thread need not wait for all forks on the machine (ten milliseconds), unlike moving a process."""
        return [
            f"{folder}/{'tasks' if controller else 'cgroup.procs'}"
            for folder, controller in {folder: controller for controller, folder in self.folders.items()}.items()
        ]

    @property
    def oom_files(self) -> list[str]:
        """Files with an oom_kill counter, read when the container exits."""
        return [
            f"{folder}/{'memory.events' if controller == '' else 'memory.oom_control'}"
            for controller, folder in self.folders.items()
            if controller in ("", "memory")
        ]

    def pids(self) -> list[int]:
        """The container's processes, including those in cgroups that it created."""
        for folder in self.folders.values():
            if os.path.exists(f"{folder}/cgroup.procs"):
                return [pid for place in _with_those_below(folder) for pid in files.pids(place)]
        return []

    def freeze(self) -> None:
        """Freeze all processes inside, and wait until they are frozen."""
        if "freezer" in self.folders:
            freezer.freeze_v1(self.folders["freezer"])
        elif "" in self.folders:
            freezer.freeze_unified(self.folders[""])
        else:
            raise Unsupported("this host has no freezer cgroup: a container cannot be paused")

    def thaw(self) -> None:
        if "freezer" in self.folders:
            files.write(f"{self.folders['freezer']}/freezer.state", "THAWED")
        elif "" in self.folders:
            files.write(f"{self.folders['']}/cgroup.freeze", "0")

    def kill(self) -> None:
        """SIGKILL for everything inside (cgroup.kill, else each process)."""
        if "" in self.folders and os.path.exists(f"{self.folders['']}/cgroup.kill"):
            files.write(f"{self.folders['']}/cgroup.kill", "1")
            return
        # Frozen first, so that no newly forked process is missed; they die when thawed.
        if frozen := os.path.exists(f"{self.folders.get('freezer', '')}/freezer.state"):
            files.write(f"{self.folders['freezer']}/freezer.state", "FROZEN")
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if frozen:
            self.thaw()

    def remove(self) -> bool:
        """Remove the directories; False while processes are still exiting (EBUSY): try again."""
        busy = [folder for folder in dict.fromkeys(self.folders.values()) if not _removed(folder)]
        # It contains processes, or cgroups created in it.
        return not [place for folder in busy for place in _with_those_below(folder) if not _removed(place)]


def _removed(folder: str) -> bool:
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise OperationFailed.of("remove cgroup", folder, error) from error
        return False
    return True


def _with_those_below(folder: str) -> list[str]:
    """A cgroup and those created in it, deepest first."""
    return [place for place, _, _ in os.walk(folder, topdown=False)] or [folder]


def _is_older(folder: str, timestamp: float) -> bool:
    with contextlib.suppress(OSError):
        return os.stat(folder).st_mtime < timestamp
    return False


class Cgroups:
    """The host's hierarchies: controller → mount point; "" is the unified one if it has our controllers."""

    def __init__(self, hierarchies: dict[str, str], *, owner: str = "", rootless: bool = False) -> None:
        """`owner` distinguishes state roots (see `of`)."""
        self.hierarchies, self.rootless = hierarchies, rootless
        self._top = f"{FOLDER}-{owner}" if owner else FOLDER

    @property
    def unified(self) -> bool:
        return "" in self.hierarchies

    @classmethod
    def of(cls, roots: Roots) -> Cgroups:
        """The host's cgroups, for this state root."""
        return cls.detect(owner="" if roots.state == USUAL else digest.tag(roots.state))

    @classmethod
    def detect(cls, root: str = "/sys/fs/cgroup", owner: str = "") -> Cgroups:
        """Detect the hierarchies mounted at `root`. Controllers without a hierarchy are absent.

        For an ordinary user: the delegated cgroup, or nothing."""
        if rootless.here():
            return cls({"": rootless.cgroup()} if rootless.cgroup() else {}, owner=owner, rootless=True)
        if os.path.exists(f"{root}/cgroup.controllers"):
            return cls({"": root}, owner=owner)
        found = {}
        for controller in ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"):
            if os.path.exists(f"{root}/{controller}/cgroup.procs"):
                found[controller] = os.path.realpath(f"{root}/{controller}")
        return cls(found, owner=owner)

    def handle(self, group: str, container_id: str, parent: str = "") -> Handle:
        """The existing directories of a container."""
        places = {c: self._folder(base, group, container_id, parent) for c, base in self.hierarchies.items()}
        return Handle({c: folder for c, folder in places.items() if os.path.isdir(folder)})

    def create(
        self,
        group: str,
        container_id: str,
        limits: Resources,
        *,
        parent: str = "",
        device_rules: Sequence[str] | None = None,
    ) -> Handle:
        """Make the cgroups and set the limits; idempotent. `device_rules` ("c 1:3 rwm") list the allowed devices, None
        means all. Raises Unsupported for a limit whose controller is missing; for an ordinary user such a limit is
        skipped (`left_out` lists it)."""
        check_parent(parent)
        if self.rootless:
            limits = self._possible(limits)
        wanted = settings.v2(limits) if self.unified else settings.v1(limits)
        controllers = {controller: None for controller, _, _ in wanted}
        if self.unified:
            handle = Handle({"": self._folder(self.hierarchies[""], group, container_id, parent)})
            unified.make(self.hierarchies[""], handle.folders[""], set(controllers))
            folders: Mapping[str, str] = dict.fromkeys(unified.CONTROLLERS, handle.folders[""])
        else:
            handle = self._separate(group, container_id, parent, controllers)
            folders = handle.folders
        for controller, file, value in wanted:
            files.write(f"{folders[controller]}/{file}", value)
        if device_rules is not None:
            self._allow_devices(handle, device_rules)
        return handle

    def _separate(self, group: str, container_id: str, parent: str, wanted: Iterable[str]) -> Handle:
        """Make a cgroup in each hierarchy of cgroup v1 that limits need, or that every container has."""
        missing = set(wanted) - set(self.hierarchies)
        if missing:
            raise Unsupported(f"this host has no {sorted(missing)[0]} cgroup controller, which a limit needs")
        needed = dict.fromkeys((*_ALWAYS_V1, *wanted))
        handle = Handle(
            {
                controller: self._folder(self.hierarchies[controller], group, container_id, parent)
                for controller in needed
                if controller in self.hierarchies
            }
        )
        for controller, folder in handle.folders.items():
            files.make(folder)
            if controller == "cpuset":
                files.inherit_cpuset(folder)
        return handle

    def update(self, group: str, container_id: str, old: Resources, new: Resources, *, parent: str = "") -> None:
        """Set the limits of a running container that differ. Raises Unsupported, OperationFailed; some may be set then."""
        handle = self.handle(group, container_id, parent)
        if not handle.folders:
            return
        make = settings.v2 if self.unified else settings.v1
        before = make(old)
        wanted = [setting for setting in make(new) if setting not in before]
        for controller in {controller for controller, _, _ in wanted} - set(handle.folders) if not self.unified else ():
            self._join_late(handle, controller, group, container_id, parent)
        if self.unified:
            handle.folders |= dict.fromkeys(unified.CONTROLLERS, handle.folders[""])
        files.write_any_order([(f"{handle.folders[controller]}/{file}", value) for controller, file, value in wanted])

    def _join_late(self, handle: Handle, controller: str, group: str, container_id: str, parent: str) -> None:
        """On v1: create a cgroup that no limit has needed so far, and move the container's processes into it."""
        if controller not in self.hierarchies:
            raise Unsupported(f"this host has no {controller} cgroup controller, which a limit needs")
        folder = self._folder(self.hierarchies[controller], group, container_id, parent)
        files.make(folder)
        if controller == "cpuset":
            files.inherit_cpuset(folder)
        moved: set[int] = set()
        while left := set(handle.pids()) - moved:
            for pid in left:
                with contextlib.suppress(OperationFailed):  # it has just exited
                    files.write(f"{folder}/cgroup.procs", str(pid))
            moved |= left
        handle.folders[controller] = folder

    def left_out(self, limits: Resources) -> list[str]:
        """The requested limits that an ordinary user cannot set here, by their names in specifications."""
        possible = self._possible(limits) if self.rootless else limits
        return [name for name in limits.__struct_fields__ if getattr(limits, name) != getattr(possible, name)]

    def _possible(self, limits: Resources) -> Resources:
        available = set()
        if self.unified:
            with open(f"{self.hierarchies['']}/cgroup.controllers", encoding="utf-8") as file:
                available = set(file.read().split())
        nothing = Resources()
        lacking = [name for name, controller in settings.CONTROLLERS.items() if controller not in available]
        return msgspec.structs.replace(limits, **{name: getattr(nothing, name) for name in lacking})

    def sweep(self, group: str, alive: Iterable[str], parent: str = "") -> None:
        """Kill and remove the group's cgroups whose container is not in `alive`, and the group's folder when empty.
        `parent`: the cgroup that holds the group's folder, "" for our own, which goes too when empty."""
        keep = set(alive)
        for controller, base in self.hierarchies.items():
            top = f"{base}/{parent.strip('/') or self._top}"
            folder = f"{top}/{group}"
            try:
                names = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
            except FileNotFoundError:
                continue
            for name in names:
                if name not in keep:
                    left = Handle({controller: f"{folder}/{name}"})
                    left.kill()
                    left.remove()
            for empty in (folder,) if parent else (folder, top):
                try:
                    os.rmdir(empty)
                except OSError:
                    break

    def sweep_abandoned(self, age: float = _ABANDONED) -> None:
        """Remove all our cgroups, including those of other state roots, that have no process and have not changed for
        `age` seconds: they belong to killed sessions whose project or state root no longer exists."""
        before = time.time() - age
        for base in self.hierarchies.values():
            tops = [one.path for one in os.scandir(base) if one.name == FOLDER or one.name.startswith(f"{FOLDER}-")]
            # Select all first, because removing one changes its parent.
            for folder in [one for top in tops for one in _with_those_below(top) if _is_older(one, before)]:
                with contextlib.suppress(OSError):  # the kernel keeps cgroups that contain a process or another cgroup
                    os.rmdir(folder)

    def _folder(self, base: str, group: str, container_id: str, parent: str) -> str:
        if parent:
            return f"{base}/{parent.strip('/')}/{container_id}"
        return f"{base}/{self._top}/{group}/{container_id}"

    def _allow_devices(self, handle: Handle, rules: Sequence[str]) -> None:
        if "devices" in handle.folders:
            folder = handle.folders["devices"]
            files.write(f"{folder}/devices.deny", "a")
            files.write(f"{folder}/devices.allow", *rules)
        elif "" in handle.folders and not self.rootless:  # whose user namespace cannot create devices anyway
            devices.attach_devices(handle.folders[""], rules)
