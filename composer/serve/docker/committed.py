"""The configuration in the body of `POST /commit` as instructions of a Dockerfile, which the engine applies
(Docker Engine API 1.55, ImageCommit)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from composer.serve.docker import body
from composer.serve.http.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator


def instructions(payload: body.Create) -> Iterator[str]:
    """One line for each field that is set. BadRequest."""
    for entry in payload.env or ():
        name, equals, value = entry.partition("=")
        if equals:
            yield f"ENV {name}={_quoted(value)}"
    for name, value in (payload.labels or {}).items():
        yield f"LABEL {_quoted(name)}={_quoted(value)}"
    if payload.entrypoint is not None:
        yield f"ENTRYPOINT {json.dumps(body.words(payload.entrypoint))}"
    if payload.cmd is not None:
        yield f"CMD {json.dumps(body.words(payload.cmd))}"
    for port in payload.exposed_ports or ():
        yield f"EXPOSE {port}"
    for path in payload.volumes or ():
        yield f"VOLUME {json.dumps([path])}"
    for word, text in (("USER", payload.user), ("WORKDIR", payload.working_dir), ("STOPSIGNAL", payload.stop_signal)):
        if text:
            yield f"{word} {text}"
    for trigger in payload.on_build or ():
        yield f"ONBUILD {trigger}"
    if payload.healthcheck is not None and payload.healthcheck.test:
        yield _healthcheck(payload.healthcheck)


def _quoted(text: str) -> str:
    if "\n" in text:
        raise BadRequest("commit: values with line breaks are not supported")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def _healthcheck(payload: body.Healthcheck) -> str:
    kind, *words = payload.test or ["NONE"]
    if kind == "NONE":
        return "HEALTHCHECK NONE"
    times = (
        ("interval", payload.interval), ("timeout", payload.timeout), ("start-period", payload.start_period),
        ("start-interval", payload.start_interval),
    )  # fmt: skip
    flags = [f"--{name}={value // 1000}us" for name, value in times if value]
    flags += [f"--retries={payload.retries}"] if payload.retries else []
    command = " ".join(words) if kind == "CMD-SHELL" else json.dumps(words)
    return " ".join(["HEALTHCHECK", *flags, "CMD", command])
