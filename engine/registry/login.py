"""Logging in: credentials are tried at the registry, and stored by a credential helper, or in a file that only its
owner can read."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Collection, Mapping
from typing import Any

from engine import atomic
from engine.errors import OperationFailed
from engine.image import reference
from engine.registry import credentials
from engine.registry.client import Client
from engine.spec.credentials import Credentials


def login(
    registry: str,
    username: str,
    password: str,
    *,
    environ: Mapping[str, str] = os.environ,
    insecure: Collection[str] = (),
) -> str:
    """Try the credentials at `registry` (host[:port], "" for Docker Hub) and store them. Returns where: the helper's
    program, or the file. Raises RegistryError, OperationFailed."""
    check(registry, Credentials(username, password), insecure=insecure)
    registry = _registry(registry)
    path = credentials.place(environ)
    config = credentials.read(path)
    key = credentials.key_of(registry)
    if helper := credentials.helper_of(config, path, registry):
        entry = {"ServerURL": key, "Username": username, "Secret": password}
        credentials.run_helper(helper, "store", json.dumps(entry), key)
        auths = {**_without(config, registry), key: {}}
    else:
        pair = base64.b64encode(f"{username}:{password}".encode()).decode()
        auths = {**_without(config, registry), key: {"auth": pair}}
    _write(path, {**config, "auths": auths})
    return f"docker-credential-{helper}" if helper else path


def check(registry: str, given: Credentials, *, insecure: Collection[str] = ()) -> None:
    """Try credentials at `registry` (host[:port], "" for Docker Hub). Raises RegistryError."""
    Client(reference.parse(f"{_registry(registry)}/login"), insecure=insecure, given=given).check_access()


def logout(registry: str, *, environ: Mapping[str, str] = os.environ) -> bool:
    """Remove a registry's credentials; False if there were none. Raises RegistryError, OperationFailed."""
    registry = _registry(registry)
    path = credentials.place(environ)
    config = credentials.read(path)
    key = credentials.key_of(registry)
    there = credentials.find(registry, environ) is not None
    if helper := credentials.helper_of(config, path, registry):
        credentials.run_helper(helper, "erase", key, key)
    kept = _without(config, registry)
    if kept != (config.get("auths") or {}):
        _write(path, {**config, "auths": kept})
    return there


def _registry(text: str) -> str:
    """host[:port] of what the user typed, which may be a URL."""
    host = credentials.host_of(text) or reference.DEFAULT_REGISTRY
    return reference.parse(f"{host}/login").registry if "." in host or ":" in host or host == "localhost" else host


def _without(config: dict[str, Any], registry: str) -> dict[str, Any]:
    auths = config.get("auths") or {}
    return {key: entry for key, entry in auths.items() if not credentials.names_registry(key, registry)}


def _write(path: str, config: dict[str, Any]) -> None:
    """Replace the file atomically; only its owner can read it."""
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        atomic.replace(os.path.realpath(path), json.dumps(config, indent="\t").encode(), durable=True)
    except OSError as error:
        raise OperationFailed.of("write", path, error) from error
