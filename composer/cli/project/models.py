"""AI models that services use (`models:`): a runner pulls and serves each; services get its name and address.

The runner is the program docker-model, a plugin of the docker CLI: `ls --json`, `pull MODEL`, `configure [--context-size N] MODEL
[-- FLAG…]`, `status --json` with the address. A model with an `x-endpoint` is served by the user's own server instead.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from msgspec import structs

from composer.cli.errors import CommandError
from composer.cli.project.providers import with_variables
from composer.cli.render.progress import State
from engine.paths import docker_client

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from composer.cli.project.context import Context
    from composer.plan.desired import Desired, DesiredModel

PROGRAM = "docker-model"
FLAGS_SINCE = (1, 0, 6)
"""The first release of the runner that takes flags of a model's program."""
_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)


def serve(context: Context, desired: Desired, names: Iterable[str]) -> Desired:
    """Let the runner serve the models of these services; returns the project with the services' variables. Raises
    CommandError, including when no model runner is available."""
    wanted = {name: desired.services[name].models for name in names}
    models = {model.name: model for used in wanted.values() for model in used}
    run = {name: model for name, model in models.items() if not model.endpoint}
    endpoint = _run(context, run) if run and not context.dry_run else ""
    services = dict(desired.services)
    for name, used in wanted.items():
        given = {model.model_variable: model.model for model in used}
        given |= {model.endpoint_variable: model.endpoint or endpoint for model in used}
        services[name] = with_variables(context, services[name], given, {})
    return structs.replace(desired, services=services)


def _run(context: Context, models: Mapping[str, DesiredModel]) -> str:
    """Pull and configure each model; returns the address of the runner."""
    program = _program(context)
    if program is None:
        users = ", ".join(sorted(models))
        raise CommandError(
            f"the models {users} need the program {PROGRAM}, the docker CLI's plugin, which is not installed\n"
            "Install it, or run a server as a service and give the model its address: x-endpoint: http://SERVICE:PORT/v1/"
        )
    there = {tag for one in _json(context, program, "ls", "--json") for tag in one.get("tags") or ()}
    flags = _release(context, program) >= FLAGS_SINCE
    with context.progress("up") as progress:
        for name, model in models.items():
            if model.model not in there:
                progress.update(name, "Pulling")
                _call(context, program, "pull", model.model)
                progress.update(name, "Pulled")
            progress.update(name, "Configuring")
            size = ("--context-size", str(model.context_size)) if model.context_size > 0 else ()
            more = ("--", *model.runtime_flags) if model.runtime_flags and flags else ()
            if model.runtime_flags and not flags:
                context.warn(f"model {name}: runtime_flags have no effect with a {PROGRAM} older than 1.0.6")
            _call(context, program, "configure", *size, model.model, *more)
            progress.update(name, "Configured", State.DONE)
    status = _json(context, program, "status", "--json")
    endpoint = status.get("endpoint") if isinstance(status, dict) else None
    if not isinstance(endpoint, str) or not endpoint:
        raise CommandError(f"{PROGRAM} status names no endpoint: is its runner running?")
    return endpoint


def _program(context: Context) -> str | None:
    """The runner in the docker CLI's plugin folders, else in PATH."""
    own = os.path.join(docker_client(context.environ), "cli-plugins")
    for folder in (own, *_FOLDERS):
        path = os.path.join(folder, PROGRAM)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return shutil.which(PROGRAM, path=context.environ.get("PATH"))


def _release(context: Context, program: str) -> tuple[int, ...]:
    about = _json(context, program, "docker-cli-plugin-metadata")
    return tuple(int(number) for number in re.findall(r"\d+", str(about.get("Version", "")))[:3])


def _json(context: Context, program: str, *words: str) -> Any:
    text = _call(context, program, *words)
    try:
        return json.loads(text)
    except ValueError:
        raise CommandError(f"{PROGRAM} {' '.join(words)} did not print valid JSON: {text.strip()[:200]}") from None


def _call(context: Context, program: str, *words: str) -> str:
    try:
        done = subprocess.run(
            [program, *words],
            env=context.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise CommandError(f"cannot start {program}: {error.strerror}") from error
    if done.returncode:
        output = (done.stderr or done.stdout or "").strip() or f"it ended with exit code {done.returncode}"
        raise CommandError(f"{PROGRAM} {' '.join(words)} failed: {output}")
    return done.stdout or ""
