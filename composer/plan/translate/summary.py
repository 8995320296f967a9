"""A service's configuration as a hash, and as a flat summary that can later tell what changed. Both depend only on the
service's model, not on its position, the order of keys, or unset keys. Keys that can change without a new container are
left out.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from composer.plan.recreation import HIDDEN
from composer.plan.translate.files import MOST_COPIED, definition, inline, is_copied
from composer.plan.translate.scope import Scope

EXCLUDED: tuple[tuple[str, ...], ...] = (
    ("attach",),
    ("build",),
    ("depends_on",),
    ("deploy", "endpoint_mode"),
    ("deploy", "labels"),
    ("deploy", "mode"),
    ("deploy", "placement"),
    ("deploy", "replicas"),
    ("deploy", "rollback_config"),
    ("deploy", "update_config"),
    ("develop",),
    ("env_file",),
    ("label_file",),
    ("profiles",),
    ("pull_policy",),
    ("pull_refresh_after",),
    ("scale",),
)
_CONFIDENTIAL = re.compile(r"pass|secret|token|key|credential|pwd|auth|private", re.IGNORECASE)


def digest(scope: Scope) -> tuple[str, dict[str, str]]:
    """The hash (64 hex digits; equal to Docker Compose's for a project loaded from files) and the summary:
    "ports.0.target" → "80".
    """
    described = _described(scope)
    text = json.dumps(described, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    flat: dict[str, str] = {}
    _flatten(described, "", flat)
    known = scope.project.hashes.get(scope.name)
    return known or hashlib.sha256(text.encode()).hexdigest(), dict(sorted(flat.items()))


def _described(scope: Scope) -> dict[str, Any]:
    described: dict[str, Any] = scope.service.model_dump(mode="json", exclude_defaults=True)
    for path in EXCLUDED:
        _drop(described, path)
    for kind in ("configs", "secrets"):
        copies = _copies(scope, kind)
        if copies:
            described[f"{kind}_content"] = copies
    return described


def _drop(tree: dict[str, Any], path: tuple[str, ...]) -> None:
    key, *rest = path
    if not rest:
        tree.pop(key, None)
    elif isinstance(tree.get(key), dict):
        _drop(tree[key], tuple(rest))
        if not tree[key]:
            del tree[key]


def _copies(scope: Scope, kind: str) -> dict[str, str]:
    """Digests of files that are copied into the container, which must be recreated to see a change."""
    found = {}
    for reference in getattr(scope.service, kind):
        config = definition(scope.project, kind, reference.source)
        if config is None or config.external or not is_copied(config, reference):
            continue
        content = b""
        if config.file:
            try:
                with open(config.file, "rb") as file:
                    content = file.read(MOST_COPIED)
            except OSError:
                continue  # the start of the container reports it by name
        else:
            content = (inline(scope.project, config) or "").encode()
        found[reference.source] = f"{HIDDEN}{hashlib.sha256(content).hexdigest()[:16]}"
    return found


def _flatten(value: Any, path: str, flat: dict[str, str]) -> None:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            _flatten(inner, f"{path}.{key}" if path else str(key), flat)
    elif isinstance(value, list) and value and not all(isinstance(item, str) for item in value):
        for index, inner in enumerate(value):
            _flatten(inner, f"{path}.{index}", flat)
    else:
        text = " ".join(value) if isinstance(value, list) else "null" if value is None else _plain(value)
        flat[path] = _hidden(text) if path.startswith("environment.") and _CONFIDENTIAL.search(path[12:]) else text


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _hidden(text: str) -> str:
    """A short digest, enough to detect a change."""
    return f"{HIDDEN}{hashlib.sha256(text.encode()).hexdigest()[:16]}"
