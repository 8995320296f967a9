"""Where state lives: one state root (survives reboots) and one run root (does not).

    <state>/composer.db                     shared facts: images, layers, pools, ports, networks, volumes
    <state>/blobs/sha256/<hex>              content-addressed blobs
    <state>/layers/<short id>/diff          unpacked layers
    <state>/volumes/<name>/_data            named volumes
    <state>/reserve                         space that is given back when the disc is full (engine.disk_reserve)
    <state>/cache/                          may be deleted at any time (loaded models, seccomp programs)
    <state>/groups/<group>/<container id>/  spec.json, state.json, exit.json, logs, upper/, work/
    <state>/jobs/<group>/                   composer's own: jobs, their schedules and runs (composer.run.jobs)
    <run>/<group>/keeper.sock               the keeper's control socket, mode 0600
    <run>/<group>/supervisor.sock           the supervisor's control socket, mode 0600
    <run>/<group>/<container id>/           bundle.json and what else only a running container needs

A group is a set of containers that share one keeper; composer makes one a project.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from engine.errors import OperationFailed

USUAL = "/var/lib/composer"
"""The state root of the machine's root (hier(7))."""

STATE_ROOT, RUN_ROOT = "COMPOSER_STATE_ROOT", "COMPOSER_RUN_ROOT"
"""Environment variables with other roots."""

SUPERVISOR_SOCKET, SUPERVISOR_LOG = "supervisor.sock", "supervisor.log"
KEEPER_SOCKET, KEEPER_LOG = "keeper.sock", "keeper.log"
ROOTLESS_SOCKET = "rootless.sock"
SPEC_FILE, EXIT_FILE, BUNDLE_FILE = "spec.json", "exit.json", "bundle.json"
"""Names of files below the roots."""


class Roots:
    """The state root and the run root, as absolute paths."""

    __slots__ = ("run", "state")

    def __init__(self, state: str, run: str) -> None:
        self.state = os.path.abspath(state)
        self.run = os.path.abspath(run)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], uid: int) -> Roots:
        """COMPOSER_STATE_ROOT and COMPOSER_RUN_ROOT, else FHS for root and XDG base directories for others."""
        if uid == 0:
            state, run = USUAL, "/run/composer"
        else:
            home = environ.get("HOME", "/")
            state = environ.get("XDG_DATA_HOME") or f"{home}/.local/share"
            run = environ.get("XDG_RUNTIME_DIR") or f"/tmp/composer-{uid}"
            state, run = f"{state}/composer", f"{run}/composer"
        return cls(environ.get(STATE_ROOT) or state, environ.get(RUN_ROOT) or run)

    def environment(self) -> dict[str, str]:
        """The variables that make another process of ours use the same roots."""
        return {STATE_ROOT: self.state, RUN_ROOT: self.run}

    def close_to_others(self) -> None:
        """Revoke other users' access to existing roots. Raises OperationFailed for a shared directory."""
        for path in (self.state, self.run):
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(path)
                if status.st_mode & 0o077 and status.st_uid == os.geteuid():
                    _close(path, status.st_mode)

    @property
    def database(self) -> str:
        return f"{self.state}/composer.db"

    @property
    def blobs(self) -> str:
        return f"{self.state}/blobs/sha256"

    @property
    def layers(self) -> str:
        return f"{self.state}/layers"

    @property
    def volumes(self) -> str:
        return f"{self.state}/volumes"

    @property
    def cache(self) -> str:
        return f"{self.state}/cache"

    @property
    def history(self) -> str:
        """Records of past builds."""
        return f"{self.cache}/history"

    @property
    def builds(self) -> str:
        """What builds keep besides images."""
        return f"{self.cache}/build"

    @property
    def groups(self) -> str:
        return f"{self.state}/groups"

    @property
    def jobs(self) -> str:
        return f"{self.state}/jobs"

    @property
    def signatures(self) -> str:
        """Signatures of images (engine.trust.evidence)."""
        return f"{self.state}/trust"

    def attached(self, image_id: str = "") -> str:
        """The file of what belongs to an image (engine.image.attached); without an id the folder of all."""
        return f"{self.state}/attached" + (f"/{image_id.removeprefix('sha256:')}.json" if image_id else "")

    def container(self, group: str, container_id: str) -> str:
        return f"{self.state}/groups/{group}/{container_id}"

    def running(self, group: str, container_id: str) -> str:
        return f"{self.run}/{group}/{container_id}"

    def keeper_socket(self, group: str) -> str:
        return f"{self.run}/{group}/{KEEPER_SOCKET}"

    def supervisor_socket(self, group: str) -> str:
        return f"{self.run}/{group}/{SUPERVISOR_SOCKET}"


def user_configuration(environ: Mapping[str, str]) -> str:
    """The folder of the user's configuration (XDG Base Directory Specification)."""
    return environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME") or "/", ".config")


def settings_files(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The machine's and the user's file with settings of ours, such as registries.toml; either may be missing."""
    return f"/etc/composer/{name}", os.path.join(user_configuration(environ), "composer", name)


def docker_client(environ: Mapping[str, str]) -> str:
    """The folder of the docker client's configuration, credentials and plugins."""
    return environ.get("DOCKER_CONFIG") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".docker")


def make_private(folder: str) -> None:
    """Create a directory and its missing parents, accessible only to us, regardless of the umask; does nothing if it
    exists.

    Raises OSError.
    """
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise
    except FileNotFoundError:
        above = os.path.dirname(folder)
        if above == folder:
            raise
        make_private(above)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)


def make_seen(folder: str) -> None:
    """Make a folder that a container sees, mode 0755 whatever the umask, in one that is private; nothing when it is
    there. Raises OSError.
    """
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(fd, 0o755)
    finally:
        os.close(fd)


def private(path: str, how: int) -> int:
    """An opener (for `open`) that creates files accessible only to us."""
    return os.open(path, how, 0o600)


_KNOWN = {
    "attached",
    "blobs",
    "cache",
    "composer.db",
    "composer.db-shm",
    "composer.db-wal",
    "groups",
    "jobs",
    "layers",
    "trust",
    "reserve",
    "volumes",
}


def _close(path: str, mode: int) -> None:
    """Close a root to others, unless it contains files for others: then it is /var/lib or /tmp, by mistake."""
    for name in os.listdir(path):
        with contextlib.suppress(FileNotFoundError):
            if name not in _KNOWN and os.lstat(f"{path}/{name}").st_mode & 0o077:
                if mode & 0o002:
                    raise OperationFailed(
                        "use",
                        path,
                        detail=f"other users can write to it, and it contains {name!r}",
                        hint=f"Set {STATE_ROOT} and {RUN_ROOT} to directories used only by composer.",
                    )
                return
    os.chmod(path, 0o700)
