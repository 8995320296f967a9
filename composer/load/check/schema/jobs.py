"""What Compose 5.6 to 5.8 added to the specification: jobs, and pre_start hooks with all keys of a container."""

from __future__ import annotations

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

NOT_OF_JOBS = frozenset(
    (
        *(
            "attach",
            "container_name",
            "deploy",
            "develop",
            "extends",
            "external_links",
            "links",
            "post_start",
            "pre_start",
        ),
        *("pre_stop", "provider", "restart", "scale"),
    )
)
"""Keys of services that jobs do not have."""
NOT_OF_HOOKS = NOT_OF_JOBS | {"build", "depends_on", "expose", "healthcheck", "ports", "profiles", "stdin_open", "tty"}
"""Keys of services that pre_start hooks do not have."""

EXTENSIONS: dict[str, Any] = {"^x-": {}}
FLAG = {"type": ["boolean", "string"]}

SCHEDULE = {
    "type": "object",
    "properties": {
        "cron": {"type": "string"},
        "timezone": {"type": "string"},
        "concurrency": {"type": "string", "enum": ["forbid", "queue"]},
        "missed_fires": {"type": "string", "enum": ["one", "skip"]},
    },
    "required": ["cron"],
    "additionalProperties": False,
    "patternProperties": EXTENSIONS,
}

TRIGGERS = {
    "type": "object",
    "properties": {
        "manual": FLAG,
        "schedule": {"type": "array", "items": {"oneOf": [{"type": "string"}, SCHEDULE]}},
    },
    "additionalProperties": False,
    "patternProperties": EXTENSIONS,
}


def extended(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The specification's schema with `jobs`, and with the hooks of 5.6."""
    definitions, properties = document["$defs"], document["$defs"]["service"]["properties"]
    job = {
        "type": "object",
        "properties": {key: properties[key] for key in properties if key not in NOT_OF_JOBS} | {"triggers": TRIGGERS},
        "required": ["triggers"],
        "additionalProperties": False,
        "patternProperties": EXTENSIONS,
    }
    hook = definitions["pre_start_hook"]
    keys = {key: properties[key] for key in properties if key not in NOT_OF_HOOKS} | hook["properties"]
    jobs = {
        "type": "object",
        "patternProperties": {"^[a-zA-Z0-9._-]+$": {"$ref": "#/$defs/job"}},
        "additionalProperties": False,
    }
    return {
        **document,
        "properties": {**document["properties"], "jobs": jobs},
        "$defs": {**definitions, "job": job, "pre_start_hook": {**hook, "properties": keys}},
    }
