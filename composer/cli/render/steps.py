"""Docker compose's words for the operations of a plan, in progress and done."""

from __future__ import annotations

from composer.cli.render.progress import Progress, State
from composer.plan.operations import RECREATE, RESTART

WORDS = {
    "create network": ("Network", "Creating", "Created"),
    "remove network": ("Network", "Removing", "Removed"),
    "create volume": ("Volume", "Creating", "Created"),
    "remove volume": ("Volume", "Removing", "Removed"),
    "create container": ("Container", "Creating", "Created"),
    "run pre_start hooks": ("Container", "Running pre_start", ""),
    "start container": ("Container", "Starting", "Started"),
    "stop container": ("Container", "Stopping", "Stopped"),
    "kill container": ("Container", "Killing", "Killed"),
    "pause container": ("Container", "", "Paused"),
    "unpause container": ("Container", "", "Unpaused"),
    "remove container": ("Container", "Removing", "Removed"),
    "rename container": ("Container", "Renaming", "Renamed"),
    "reconnect container": ("Container", "Reconnecting", "Reconnected"),
    "update container": ("Container", "Updating", "Updated"),
    "run job": ("Job", "Running", "Exited"),
    "register job": ("Job", "Creating", "Created"),
    "start job": ("Job", "Starting", "Started"),
    "stop job": ("Job", "Stopping", "Stopped"),
    "remove job": ("Job", "Removing", "Removed"),
    "wait for container": ("Container", "Waiting", "Healthy"),
}
"""Kind of operation → kind of thing, word while it runs, word when it is done."""

PARTS = {
    ("create container", RECREATE): ("Recreate", ""),
    ("stop container", RECREATE): ("Recreate", ""),
    ("remove container", RECREATE): ("Recreate", ""),
    ("rename container", RECREATE): ("Recreate", "Recreated"),
    ("stop container", RESTART): ("Restarting", ""),
    ("start container", RESTART): ("Restarting", "Started"),
}
"""(kind, part) → the words for an operation that is part of a larger one; "" shows nothing."""

WAITED = {"healthy": "Healthy", "completed": "Exited", "running": "Healthy"}
"""Word for the end of a wait, by its condition."""


def title_of(action: str) -> str:
    """The header of the live progress, as in Docker Compose 5."""
    return "remove" if action == "rm" else action


def step_of(kind: str, name: str) -> str:
    """The name of an operation's step."""
    return f"{WORDS[kind][0]} {name}"


def show(
    progress: Progress, kind: str, name: str, cause: str, *, done: bool, part: str = "", condition: str = ""
) -> None:
    """Show that an operation has begun or is done."""
    _, working, finished = WORDS[kind]
    working, finished = PARTS.get((kind, part), (working, WAITED.get(condition, finished)))
    if done and finished:
        detail = f"({cause})" if part == RECREATE or kind == "reconnect container" else ""
        progress.update(step_of(kind, name), finished, State.DONE, detail=detail)
    elif not done and working:
        progress.update(step_of(kind, name), working)
