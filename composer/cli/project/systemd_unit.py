"""The systemd unit that starts a project at boot (systemd.unit(5), systemd.service(5)): its text, path and link.

root    /etc/systemd/system/composer-<project>.service              wanted by multi-user.target
others  <XDG_CONFIG_HOME>/systemd/user/composer-<project>.service   wanted by default.target
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import composer
from composer.cli.errors import CommandError
from engine.paths import user_configuration

_PREFIX, _SUFFIX = "composer-", ".service"
_TARGETS = {False: "multi-user.target", True: "default.target"}
_TEXT = """\
# Written by `composer autostart enable`; `composer autostart disable` removes it.
[Unit]
Description=Composer project {project}
{after}[Service]
Type=oneshot
RemainAfterExit=yes
{environment}ExecStart={run}
ExecStop={stop}
TimeoutStartSec=infinity
{delegate}
[Install]
WantedBy={target}
"""
_NETWORK = "Wants=network-online.target\nAfter=network-online.target\n"


class Units:
    """The units of one user, or of the system for root. `systemd` is the runtime folder of the service manager."""

    def __init__(self, environ: Mapping[str, str], *, user: bool) -> None:
        self.user = user
        system = environ.get("COMPOSER_UNIT_ROOT") or "/etc/systemd/system"
        self.folder = Path(f"{user_configuration(environ)}/systemd/user" if user else system)

    def path(self, project: str) -> Path:
        return self.folder / f"{_PREFIX}{project}{_SUFFIX}"

    def projects(self) -> list[str]:
        """The projects that have a unit here."""
        names = [path.name for path in self.folder.glob(f"{_PREFIX}*{_SUFFIX}")]
        return sorted(name.removeprefix(_PREFIX).removesuffix(_SUFFIX) for name in names)

    def text(self, project: str, state: str, run: str) -> str:
        """`state`, `run`: the roots."""
        program, environment = _program()
        words = [*program, "--state-root", state, "--run-root", run, "-p", project, "autostart"]
        after = "\n" if self.user else f"{_NETWORK}RequiresMountsFor={_quoted(state)}\n\n"
        return _TEXT.format(
            project=project,
            after=after,
            environment=environment,
            run=" ".join(map(_quoted, [*words, "run"])),
            stop=" ".join(map(_quoted, [*words, "stop"])),
            delegate="Delegate=yes\n" if self.user else "",
            target=_TARGETS[self.user],
        )

    def write(self, project: str, text: str) -> Path:
        """Write the unit and the link that enables it. Raises CommandError when that fails."""
        path = self.path(project)
        wants = self.folder / f"{_TARGETS[self.user]}.wants"
        try:
            wants.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            with contextlib.suppress(FileExistsError):
                (wants / path.name).symlink_to(path)
        except OSError as error:
            raise CommandError(f"cannot write {error.filename or path}: {error.strerror}") from None
        return path

    def remove(self, project: str) -> bool:
        """Remove the unit. Returns whether there was one."""
        path = self.path(project)
        found = path.exists()
        for one in (self.folder / f"{_TARGETS[self.user]}.wants" / path.name, path):
            with contextlib.suppress(FileNotFoundError):
                one.unlink()
        return found

    def reload(self) -> None:
        """Let a running systemd reload its units."""
        import subprocess

        if os.path.isdir("/run/systemd/system"):
            command = ["systemctl", *(["--user"] if self.user else []), "daemon-reload"]
            with contextlib.suppress(OSError):
                subprocess.run(command, stdout=subprocess.DEVNULL)


def _program() -> tuple[Sequence[str], str]:
    """The command line of this program, and the Environment= line that it needs."""
    command = os.path.realpath(sys.argv[0])
    if os.path.basename(command) == "composer" and os.access(command, os.X_OK):
        return [command], ""
    tree = os.path.dirname(os.path.dirname(os.path.abspath(composer.__file__)))
    return [sys.executable, "-P", "-m", "composer"], f"Environment={_quoted(f'PYTHONPATH={tree}')}\n"


def _quoted(word: str) -> str:
    """A word of systemd's command lines (systemd.syntax(7)): no specifiers, no variables."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if not word or set(word) & set(" \t\\\"'") else word
