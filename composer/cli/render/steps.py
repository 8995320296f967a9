"""What an operation of a plan is called while it runs and when it is done, in docker compose's words."""

from __future__ import annotations

from composer.plan.operations import Kind

WORDS: dict[Kind, tuple[str, str, str]] = {
    Kind.CREATE_NETWORK: ("Network", "Creating", "Created"),
    Kind.REMOVE_NETWORK: ("Network", "Removing", "Removed"),
    Kind.CREATE_VOLUME: ("Volume", "Creating", "Created"),
    Kind.REMOVE_VOLUME: ("Volume", "Removing", "Removed"),
    Kind.CREATE: ("Container", "Creating", "Created"),
    Kind.RECREATE: ("Container", "Recreate", "Recreated"),
    Kind.START: ("Container", "Starting", "Started"),
    Kind.STOP: ("Container", "Stopping", "Stopped"),
    Kind.RESTART: ("Container", "Restarting", "Started"),
    Kind.KILL: ("Container", "Killing", "Killed"),
    Kind.PAUSE: ("Container", "Pausing", "Paused"),
    Kind.UNPAUSE: ("Container", "Unpausing", "Unpaused"),
    Kind.REMOVE: ("Container", "Removing", "Removed"),
    Kind.WAIT: ("Container", "Waiting", "Healthy"),
}

WAITED = {"healthy": "Healthy", "completed": "Exited", "running": "Healthy"}
"""A wait's end by its condition."""

TITLES = {
    "up": "Running",
    "create": "Creating",
    "down": "Running",
    "start": "Running",
    "stop": "Stopping",
    "restart": "Restarting",
    "kill": "Killing",
    "pause": "Pausing",
    "unpause": "Running",
    "rm": "Removing",
    "run": "Creating",
}
"""The header of the live progress for each action."""
