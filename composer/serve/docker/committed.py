"""The configuration in the body of `POST /commit` as instructions of a Dockerfile, which the engine applies
(Docker Engine API 1.55, ImageCommit)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from composer.serve.docker import body
from composer.serve.http.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator


def instructions(asked: body.Create) -> Iterator[str]:
    """One line for each field that is set. BadRequest."""
    for entry in asked.env or ():
        name, equals, value = entry.partition("=")
        if equals:
            yield f"ENV {name}={_quoted(value)}"
    for name, value in (asked.labels or {}).items():
        yield f"LABEL {_quoted(name)}={_quoted(value)}"
    if asked.entrypoint is not None:
        yield f"ENTRYPOINT {json.dumps(body.words(asked.entrypoint))}"
    if asked.cmd is not None:
        yield f"CMD {json.dumps(body.words(asked.cmd))}"
    for port in asked.exposed_ports or ():
        yield f"EXPOSE {port}"
    for path in asked.volumes or ():
        yield f"VOLUME {json.dumps([path])}"
    for word, text in (("USER", asked.user), ("WORKDIR", asked.working_dir), ("STOPSIGNAL", asked.stop_signal)):
        if text:
            yield f"{word} {text}"
    for trigger in asked.on_build or ():
        yield f"ONBUILD {trigger}"
    if asked.healthcheck is not None and asked.healthcheck.test:
        yield _healthcheck(asked.healthcheck)


def _quoted(text: str) -> str:
    if "\n" in text:
        raise BadRequest("commit: values with line breaks are not supported")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def _healthcheck(asked: body.Healthcheck) -> str:
    kind, *words = asked.test or ["NONE"]
    if kind == "NONE":
        return "HEALTHCHECK NONE"
    times = (
        ("interval", asked.interval), ("timeout", asked.timeout), ("start-period", asked.start_period),
        ("start-interval", asked.start_interval),
    )  # fmt: skip
    flags = [f"--{name}={value // 1000}us" for name, value in times if value]
    flags += [f"--retries={asked.retries}"] if asked.retries else []
    command = " ".join(words) if kind == "CMD-SHELL" else json.dumps(words)
    return " ".join(["HEALTHCHECK", *flags, "CMD", command])
