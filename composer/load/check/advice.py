"""Advice: valid settings in a project that may still surprise its users. Nothing here is an error by itself.

`config --explain` shows it, and `config --strict` makes it an error; other commands do not print it. The warnings that
Docker Compose prints with every command (an unset variable, the obsolete `version`) come from the load stages. Each
kind can be silenced (notice.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from composer.load.errors import did_you_mean
from composer.load.notice import KINDS, LATEST, PUBLISHED, SECRET, silenced
from composer.load.tree.nodes import dotted, origin_at

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.load.options import Loaded

Path = tuple[str | int, ...]

COMPOSE_FILE = re.compile(r"\.(?:ya?ml|json):\d+:\d+\Z")
"""A value in `environment`. Values from an env_file are fine: that file need not be committed with the sources."""

SECRET_NAME = re.compile(
    r"(?:^|_)(?:PASS|PASSWD|PASSWORD|PASSPHRASE|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIALS?)(?:_|$)"
)
SECRET_ELSEWHERE = re.compile(r"_(?:FILE|PATH|URL|LENGTH|TTL|EXPIRY|EXPIRATION)$")
"""A variable whose name ends like this holds the location of a secret, or a fact about it, not the secret."""


class Advice:
    """One surprise; `kind` is the word that silences it."""

    __slots__ = ("hint", "kind", "message", "path", "place")

    def __init__(self, kind: str, path: Path, place: str, message: str, hint: str) -> None:
        self.kind, self.path, self.place, self.message, self.hint = kind, path, place, message, hint

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        return f"{where}{dotted(self.path)}: {self.message} [{self.kind}]\n  {self.hint}"

    def view(self) -> dict[str, str]:
        """As JSON shows it."""
        fields = {name: getattr(self, name) for name in ("kind", "place", "message", "hint")}
        return {**fields, "path": dotted(self.path)}


def advice(loaded: Loaded) -> list[Advice]:
    """The advice for this project, in the order of its services, without the kinds that it silences."""
    silent = silenced(loaded.tree, loaded.environment)
    from_variables = {str(use.origin) for use in loaded.inputs.uses}
    found = []
    for name, service in (loaded.tree.get("services") or {}).items():
        for kind, finder in FINDERS.items():
            for below, message, hint in finder(service) if kind not in silent else ():
                one = _advice(loaded.tree, kind, ("services", name, *below), message, hint)
                if kind != SECRET or (one.place not in from_variables and COMPOSE_FILE.search(one.place)):
                    found.append(one)
    for kind in sorted(silent - KINDS):
        path = ("x-composer", "silence")
        found.append(_advice(loaded.tree, "unknown", path, f"unknown advice {kind!r}", did_you_mean(kind, KINDS)))
    return found


def _advice(tree: Any, kind: str, path: Path, message: str, hint: str) -> Advice:
    return Advice(kind, path, str(origin_at(tree, path) or ""), message, hint)


Found = Iterator[tuple[Path, str, str]]


def _published(service: Mapping[str, Any]) -> Found:
    for index, port in enumerate(service.get("ports") or ()):
        if isinstance(port, dict) and port.get("published") and port.get("host_ip", "") in ("", "0.0.0.0", "::"):
            number = port["published"]
            yield (
                ("ports", index),
                f"port {number} is open on every interface of this machine, past most firewalls",
                f"to publish it on this machine only: 127.0.0.1:{number}:{port.get('target')}",
            )


def _secret(service: Mapping[str, Any]) -> Found:
    variables = service.get("environment")
    for name, value in variables.items() if isinstance(variables, dict) else ():  # remains a list with --no-interpolate
        upper = str(name).upper()
        if value and SECRET_NAME.search(upper) and not SECRET_ELSEWHERE.search(upper):
            yield (
                ("environment", name),
                "the files contain a secret as plain text, and anyone who can inspect the container can read it",
                f"use a secret (secrets:), or take it from the environment: {name}: ${{{name}}}",
            )


def _latest(service: Mapping[str, Any]) -> Found:
    image = service.get("image")
    if not isinstance(image, str) or "@" in image or service.get("build"):
        return
    name, colon, tag = image.rpartition(":")
    if not colon or "/" in tag:
        name, tag = image, ""
    if tag in ("", "latest"):
        yield (
            ("image",),
            f"{image} resolves to whatever is newest when it is pulled",
            f"pin a version: {name}:<version>",
        )


FINDERS = {PUBLISHED: _published, SECRET: _secret, LATEST: _latest}
"""Kind → function that finds it in a service. It yields the path below the service, the message, and the hint."""
