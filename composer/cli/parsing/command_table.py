"""The table of commands: name → (module, one line of help). A module is imported only when its command runs.

The module has `COMMAND` (a `flags.Command`) and `run(context, args)`, which returns the exit code; or, for a group of
commands, `GROUP` (a `flags.Group`).
"""

from __future__ import annotations

from composer.cli.errors import UsageError

COMMANDS: dict[str, tuple[str, str]] = {
    "alpha": ("alpha", "Experimental commands"),
    "attach": ("attach", "Attach local standard input, output, and error streams to a service's running container"),
    "autostart": ("autostart", "Start projects again after a reboot"),
    "bridge": ("bridge", "Convert compose files into another model"),
    "build": ("build", "Build or rebuild services"),
    "builder": ("builder", "Manage the build cache"),
    "commit": ("commit", "Create a new image from a service container's changes"),
    "completion": ("completion", "Generate the completion script for a shell"),
    "config": ("config", "Parse, resolve and render compose file in canonical format"),
    "container": ("container", "Manage containers of all projects"),
    "cp": ("cp", "Copy files/folders between a service container and the local filesystem"),
    "create": ("create", "Creates containers for a service"),
    "down": ("down", "Stop and remove containers, networks"),
    "env": ("env", "List, read and change the variables of the project's .env file"),
    "events": ("events", "Receive real time events from containers"),
    "exec": ("exec", "Execute a command in a running container"),
    "export": ("export", "Export a service container's filesystem as a tar archive"),
    "image": ("image", "Manage images"),
    "images": ("images", "List images used by the created containers"),
    "job": ("job", "Manage jobs, their schedules and their runs"),
    "kill": ("kill", "Force stop service containers"),
    "lock": ("lock", "Write composer.lock with the digests of images and remote files"),
    "login": ("login", "Authenticate to a registry"),
    "logout": ("logout", "Log out from a registry"),
    "logs": ("logs", "View output from containers"),
    "ls": ("ls", "List running compose projects"),
    "man": ("man", "Print the manual page"),
    "network": ("network", "Manage networks of all projects"),
    "pause": ("pause", "Pause services"),
    "port": ("port", "Print the public port for a port binding"),
    "ps": ("ps", "List containers"),
    "publish": ("publish", "Publish compose application"),
    "pull": ("pull", "Pull service images"),
    "push": ("push", "Push service images"),
    "restart": ("restart", "Restart service containers"),
    "rm": ("rm", "Removes stopped service containers"),
    "run": ("run", "Run a one-off command on a service"),
    "scale": ("scale", "Scale services"),
    "serve": ("serve", "Serve the Docker Engine API on a UNIX socket"),
    "start": ("start", "Start services"),
    "stats": ("stats", "Display a live stream of container(s) resource usage statistics"),
    "stop": ("stop", "Stop services"),
    "system": ("system", "Show and free disk space of the engine"),
    "top": ("top", "Display the running processes"),
    "unpause": ("unpause", "Unpause services"),
    "up": ("up", "Create and start containers"),
    "version": ("version", "Show the Composer version information"),
    "volume": ("volume", "Manage volumes of all projects"),
    "volumes": ("volumes", "List volumes"),
    "wait": ("wait", "Block until containers of all (or specified) services stop."),
    "watch": ("watch", "Watch build context for service and rebuild/refresh containers when files are updated"),
}

ALIASES = {"convert": "config"}

HIDDEN = {"complete": "complete", "supervise": "supervise"}
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


def module_of(name: str) -> str:
    """The module of a command. For an unknown one, raises UsageError with the nearest name."""
    name = ALIASES.get(name, name)
    if name in COMMANDS:
        return f"composer.cli.commands.{COMMANDS[name][0]}"
    if name in HIDDEN:
        return f"composer.cli.commands.{HIDDEN[name]}"
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
