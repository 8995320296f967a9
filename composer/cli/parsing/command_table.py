"""The table of commands: name → one line of help. Each has a module of the same name, which is imported only when the
command runs.

The module has `COMMAND`, made by `command`, and `run(context, args)`, which returns the exit code; or, for a group of
commands, `GROUP`, made by `group`.
"""

from __future__ import annotations

from composer.cli.errors import UsageError
from composer.cli.parsing.flags import Command, Flag, Group, Runner

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMMANDS = {
    "alpha": "Experimental commands",
    "attach": "Attach local standard input, output, and error streams to a service's running container",
    "autostart": "Start projects again after a reboot",
    "bridge": "Convert compose files into another model",
    "build": "Build or rebuild services",
    "builder": "Manage builds and their cache",
    "commit": "Create a new image from a service container's changes",
    "completion": "Generate the completion script for a shell",
    "config": "Parse, resolve and render compose file in canonical format",
    "container": "Manage containers of all projects",
    "cp": "Copy files/folders between a service container and the local filesystem",
    "create": "Creates containers for a service",
    "down": "Stop and remove containers, networks",
    "env": "List, read and change the variables of the project's .env file",
    "events": "Receive real time events from containers",
    "exec": "Execute a command in a running container",
    "export": "Export a service container's filesystem as a tar archive",
    "image": "Manage images",
    "images": "List images used by the created containers",
    "job": "Manage jobs, their schedules and their runs",
    "kill": "Force stop service containers",
    "lock": "Write composer.lock with the digests of images and remote files",
    "login": "Authenticate to a registry",
    "logout": "Log out from a registry",
    "logs": "View output from containers",
    "ls": "List running compose projects",
    "man": "Print the manual page",
    "network": "Manage networks of all projects",
    "pause": "Pause services",
    "port": "Print the public port for a port binding",
    "ps": "List containers",
    "publish": "Publish compose application",
    "pull": "Pull service images",
    "push": "Push service images",
    "restart": "Restart service containers",
    "rm": "Removes stopped service containers",
    "run": "Run a one-off command on a service",
    "scale": "Scale services",
    "serve": "Serve the Docker Engine API on a UNIX socket",
    "start": "Start services",
    "stats": "Display a live stream of container(s) resource usage statistics",
    "stop": "Stop services",
    "system": "Show and free disk space of the engine",
    "top": "Display the running processes",
    "unpause": "Unpause services",
    "up": "Create and start containers",
    "version": "Show the Composer version information",
    "volume": "Manage volumes of all projects",
    "volumes": "List volumes",
    "wait": "Block until containers of all (or specified) services stop.",
    "watch": "Watch build context for service and rebuild/refresh containers when files are updated",
}

ALIASES = {"convert": "config"}

HIDDEN = ("complete", "supervise")
"""Internal commands: a shell calls the one for completions, the other starts a project's supervisor."""

REFUSED = {
    "context": "composer has no daemon to connect to; use --state-root, or log in to the other machine",
    **dict.fromkeys(("node", "plugin", "service", "stack", "swarm", "trust"), "composer has neither Swarm nor plugins"),
}
"""docker's commands that composer lacks, and why."""


ELSEWHERE = {
    "buildx": "build", "containers": "ps", "history": "image history", "import": "image import", "info": "system info",
    "inspect": "container inspect", "list": "ls", "load": "image load", "manifest": "image inspect",
    "networks": "network ls", "prune": "system prune", "rename": "container rename", "rmi": "image rm",
    "save": "image save", "search": "image pull", "secret": "config", "status": "ps", "tag": "image tag", "update": "up",
}  # fmt: skip
"""docker's command → ours for the same purpose."""


def command(
    name: str,
    usage: str,
    flags: Sequence[Flag] = (),
    *,
    positional: tuple[int, int | None] = (0, None),
    interspersed: bool = True,
    actions: Mapping[str, str] | None = None,
) -> Command:
    """The description of a command of the table, for its module."""
    return Command(
        name, COMMANDS[name], usage, flags, positional=positional, interspersed=interspersed, actions=actions
    )


def group(
    name: str,
    entries: Mapping[str, tuple[Command, Runner] | Group],
    aliases: Mapping[str, str] | None = None,
    refused: Mapping[str, str] | None = None,
    flags: Sequence[Flag] = (),
) -> Group:
    """The description of a group of the table, for its module."""
    return Group(name, COMMANDS[name], entries, aliases, refused, flags)


def module_of(name: str) -> str:
    """The module of a command. For an unknown one, raises UsageError with the nearest name."""
    name = ALIASES.get(name, name)
    if name in COMMANDS or name in HIDDEN:
        return f"composer.cli.commands.{name}"
    if name in REFUSED:
        raise UsageError(f"composer {name} is not supported: {REFUSED[name]}")
    if name in ELSEWHERE:
        raise UsageError(f'unknown composer command: "{name}"\nUse: composer {ELSEWHERE[name]}')
    if name in ("docker", "docker-compose", "compose"):
        raise UsageError(f'unknown composer command: "{name}"\nLeave that word out: composer COMMAND')
    from composer.cli.parsing.suggest import nearest

    near = nearest(name, COMMANDS)
    hint = f"\nDid you mean: composer {near}?" if near else "\nRun 'composer --help' for the list of commands."
    raise UsageError(f'unknown composer command: "{name}"{hint}')
