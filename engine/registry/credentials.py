"""Credentials stored by `docker login`: ~/.docker/config.json with auths, credsStore and credHelpers.

Helpers are programs docker-credential-<name> that answer `get` (github.com/docker/docker-credential-helpers, README).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from typing import Any

from engine.bounded_read import MIB, read_bytes
from engine.errors import RegistryError
from engine.image.reference import DEFAULT_REGISTRY
from engine.paths import docker_client
from engine.spec.credentials import Credentials
from engine.vocabulary import HUB_HOSTS, HUB_SERVER

_HELPER_SECONDS = 30


def place(environ: Mapping[str, str] = os.environ) -> str:
    """The path of the client's configuration."""
    return os.path.join(docker_client(environ), "config.json")


def read(path: str) -> dict[str, Any]:
    """The client's configuration, empty if there is none. Raises RegistryError."""
    try:
        config = json.loads(read_bytes(path, 16 * MIB, "the client's configuration"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise RegistryError(f"cannot read the registry credentials in {path}: {error}") from error
    if not isinstance(config, dict):
        raise RegistryError(f"cannot read the registry credentials in {path}: not a JSON object")
    return config


def key_of(registry: str) -> str:
    """The key of a registry in `auths` and for helpers."""
    return HUB_SERVER if registry == DEFAULT_REGISTRY else registry


def names_registry(key: str, registry: str) -> bool:
    """Whether a key of `auths` or `credHelpers`, which may be a whole URL, is the registry's."""
    return host_of(key) in (HUB_HOSTS if registry == DEFAULT_REGISTRY else (registry,))


def helper_of(config: dict[str, Any], path: str, registry: str) -> str:
    """The credential helper that stores a registry's credentials, "" for none: `credHelpers` before `credsStore`."""
    for key, helper in _table(config.get("credHelpers"), path, "credHelpers").items():
        if helper and names_registry(key, registry):
            return str(helper)
    return str(config.get("credsStore") or "")


def find(registry: str, environ: Mapping[str, str] = os.environ) -> Credentials | None:
    """The credentials for a registry, None if there are none. Raises RegistryError for an unreadable file or a failing
    helper.
    """
    path = place(environ)
    config = read(path)
    hub = registry == DEFAULT_REGISTRY
    helpers, auths = (_table(config.get(name), path, name) for name in ("credHelpers", "auths"))
    for key, helper in helpers.items():
        if helper and names_registry(key, registry):
            return _ask(str(helper), key)
    # An exact key comes first, as in docker (cli/config/credentials, GetAuthConfig).
    for key in sorted(auths, key=lambda key: key not in (HUB_SERVER if hub else registry, f"https://{registry}")):
        if names_registry(key, registry) and (found := _decode(auths[key], path, key)):
            return found
    if store := config.get("credsStore"):
        return _ask(str(store), HUB_SERVER if hub else registry)
    return None


def stored(environ: Mapping[str, str] = os.environ) -> dict[str, Credentials]:
    """All stored credentials, by their keys in `auths`. Raises RegistryError for an unreadable file or a failing helper."""
    path = place(environ)
    config = read(path)
    helpers, auths = (_table(config.get(name), path, name) for name in ("credHelpers", "auths"))
    found = {key: _decode(entry, path, key) for key, entry in auths.items()}
    if store := config.get("credsStore"):
        listed = run_helper(str(store), "list", "", "the list of its keys")
        try:
            keys = list(json.loads(listed or b"{}"))
        except ValueError as error:
            raise RegistryError(f"the credential helper docker-credential-{store} returned a malformed list") from error
        found |= {key: _ask(str(store), key) for key in keys}
    found |= {key: _ask(str(helper), key) for key, helper in helpers.items() if helper}
    return {key: credentials for key, credentials in found.items() if credentials is not None}


def _table(found: object, path: str, name: str) -> dict[str, Any]:
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise RegistryError(f"cannot read the registry credentials in {path}: {name} is not an object")
    return found


def host_of(key: str) -> str:
    """host[:port] of a key, which may be a whole URL (docker's ConvertToHostname)."""
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _decode(entry: object, path: str, key: str) -> Credentials | None:
    if not isinstance(entry, dict):
        raise RegistryError(f"cannot read the registry credentials in {path}: auths.{key} is not an object")
    if token := entry.get("identitytoken"):
        return Credentials(identity_token=str(token))
    if entry.get("username") and entry.get("password"):
        return Credentials(str(entry["username"]), str(entry["password"]))
    if not entry.get("auth"):
        return None
    try:
        username, colon, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise RegistryError(f"cannot read the registry credentials in {path}: auths.{key}.auth: {error}") from error
    if not colon:
        raise RegistryError(f"cannot read the registry credentials in {path}: auths.{key}.auth holds no colon")
    return Credentials(username, password.rstrip("\0"))


def _ask(helper: str, key: str) -> Credentials | None:
    output = run_helper(helper, "get", key, key)
    if output is None:
        return None
    try:
        answer = json.loads(output)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise RegistryError(
            f"the credential helper docker-credential-{helper} returned malformed output for {key}"
        ) from error
    return Credentials(identity_token=secret) if username == "<token>" else Credentials(username, secret)


def run_helper(helper: str, action: str, text: str, key: str) -> bytes | None:
    """The output of docker-credential-HELPER for an action (get, store, erase); None if it does not know the key."""
    program = f"docker-credential-{helper}"
    if "/" in helper:
        raise RegistryError(f"invalid credential helper name {helper!r}")
    import subprocess  # few configurations name a helper

    try:
        done = subprocess.run(
            [program, action], input=text.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RegistryError(f"the credential helper {program} failed: {error}") from error
    if done.returncode:
        output = (done.stdout + done.stderr).decode(errors="replace").strip()
        if "credentials not found" in output:
            return None
        raise RegistryError(f"the credential helper {program} failed for {key}: {output}")
    return done.stdout
