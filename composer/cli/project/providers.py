"""Services that an external program provides (`provider:`): it is called to start, stop and remove them.

    PROGRAM compose metadata                                     → the options of each command, as JSON
    PROGRAM compose --project-name=P up|stop|down --KEY=VALUE … SERVICE
                                                                 → lines of JSON: {"type": …, "message": …}

Types: info and error are shown to the user, debug is discarded, `setenv` gives dependent services a variable prefixed
with the service's name, `rawsetenv` one without the prefix (docker/compose, docs/extension.md). `get-service-config`
requests the service's own definition: the answer is one line on the program's standard input, the canonical service as
JSON."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from msgspec import structs

from composer.cli.errors import CommandError
from composer.cli.render.progress import State

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.cli.render.progress import Progress
    from composer.plan.desired import Desired, DesiredService

WORDS = {"up": ("Creating", "Created"), "stop": ("Stopping", "Stopped"), "down": ("Removing", "Removed")}
RELAYED = ("publish-endpoint", "get-relay-info")
"""Messages of Compose 5.6 that need a container which forwards connections."""
METADATA_TIMEOUT = 30
"""Seconds."""


def provide(context: Context, desired: Desired, names: Iterable[str]) -> Desired:
    """Start the services with a provider, in order; returns the project with the variables for their dependants. Raises
    CommandError for failures."""
    wanted = set(names)
    for name in desired.order:
        if name in wanted and desired.services[name].provider is not None:
            prefixed, plain = _call(context, desired.services[name], "up")
            given = {f"{name.upper()}_{key}": value for key, value in prefixed.items()}
            services = {
                other: with_variables(context, service, given, plain) if _needs(service, name) else service
                for other, service in desired.services.items()
            }
            desired = structs.replace(desired, services=services)
    return desired


def end(context: Context, desired: Desired, names: Iterable[str], action: str) -> None:
    """Stop or remove provided services among these (none: all), dependants first."""
    wanted = set(names) or set(desired.order)
    for name in reversed(desired.order):
        if name in wanted and desired.services[name].provider is not None:
            _call(context, desired.services[name], action)


def _needs(service: DesiredService, name: str) -> bool:
    return any(dependency.service == name for dependency in service.depends_on)


def with_variables(
    context: Context, service: DesiredService, given: Mapping[str, str], plain: Mapping[str, str]
) -> DesiredService:
    """The service with these variables, which are part of the comparison of its containers."""
    for key in plain:
        if key in service.container.environment:
            context.warn(f'service "{service.name}": a provider overrides environment variable {key}')
    more = {**given, **plain}
    if not more:
        return service
    text = json.dumps([service.hash, more], sort_keys=True)
    seen = {f"environment.{key}": f"sha256:{_digest(value)[:16]}" for key, value in more.items()}
    return structs.replace(
        service,
        hash=_digest(text),
        summary={**service.summary, **seen},
        container=structs.replace(service.container, environment={**service.container.environment, **more}),
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _call(context: Context, service: DesiredService, action: str) -> tuple[dict[str, str], dict[str, str]]:
    """Call the program; returns the variables of its `setenv` and `rawsetenv` messages."""
    assert service.provider is not None
    kind, options = service.provider.type, service.provider.options
    program = shutil.which(f"docker-{kind}", path=context.environ.get("PATH")) or shutil.which(
        kind, path=context.environ.get("PATH")
    )
    if program is None or kind == "compose":
        raise CommandError(
            f'service "{service.name}": provider {kind!r} not found: neither docker-{kind} nor {kind} is in PATH'
        )
    about = _metadata(context, program)
    known = (
        None if about is None else {one.get("name"): one for one in (about.get(action) or {}).get("parameters") or ()}
    )
    if action == "stop" and (about is None or "stop" not in about):
        return {}, {}
    for name, parameter in (known or {}).items() if action == "up" else ():
        if parameter.get("required") and name not in options:
            raise CommandError(f'required parameter "{name}" is missing from provider "{kind}" definition')
    flags = [f"--{key}={value}" for key, values in options.items() if known is None or key in known for value in values]
    words = [program, "compose", f"--project-name={context.project_name}", action, *flags, service.name]
    working, done = WORDS[action]
    if context.dry_run:
        return {}, {}
    with context.progress(action) as progress:
        progress.update(service.name, working)
        found = _conversation(context, service, words, action, progress)
        progress.update(service.name, done, State.DONE)
    return found["setenv"], found["rawsetenv"]


def _conversation(
    context: Context, service: DesiredService, words: list[str], action: str, progress: Progress
) -> dict[str, dict[str, str]]:
    """Run the program to completion and answer its requests; returns the variables in its messages by type. Raises
    CommandError."""
    found: dict[str, dict[str, str]] = {"setenv": {}, "rawsetenv": {}}
    said = ""
    with subprocess.Popen(words, env=context.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                sort, text = _message(service.name, line)
                if sort in found:
                    key, equals, value = text.partition("=")
                    if not equals:
                        raise CommandError(f'service "{service.name}": invalid message from provider: {text}')
                    found[sort][key] = value
                elif sort == "error":
                    said = text
                elif sort == "info":
                    progress.update(service.name, text.partition("\n")[0])
                elif sort == "get-service-config":
                    _answer(process, _definition(context, service.name))
                elif sort in RELAYED:
                    raise CommandError(
                        f'service "{service.name}": its provider requested {sort}, which composer does not support\n'
                        "Have the provider pass its address with setenv instead."
                    )
                elif sort != "debug":
                    raise CommandError(
                        f'service "{service.name}": its provider sent a message of unknown type {sort!r}'
                    )
        except BaseException:
            process.kill()
            raise
    if process.returncode or said:
        progress.update(service.name, "Error", State.ERROR)
        why = said or f"it ended with exit code {process.returncode}"
        kind = service.provider.type if service.provider else ""
        raise CommandError(f'service "{service.name}": provider {kind} failed ({action}): {why}')
    return found


def _answer(process: subprocess.Popen[bytes], line: str) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it exited after its request
        process.stdin.write(f"{line}\n".encode())
        process.stdin.flush()


def _definition(context: Context, name: str) -> str:
    """A service of the project in canonical form, on one line."""
    from composer.load.project import load_tree
    from composer.load.resolve.fingerprint import as_json

    tree = load_tree(context.load_options()).tree["services"][name]
    return json.dumps(as_json(tree), ensure_ascii=False)


def _message(service: str, line: bytes) -> tuple[str, str]:
    try:
        message = json.loads(line)
        return str(message["type"]), str(message.get("message", ""))
    except (ValueError, TypeError, KeyError):
        text = line.decode(errors="replace").strip()
        raise CommandError(f'service "{service}": invalid message from provider: {text}') from None


def _metadata(context: Context, program: str) -> dict[str, Any] | None:
    """The options that the program declares; None if it declares none: then it gets all options."""
    try:
        done = subprocess.run(
            [program, "compose", "metadata"],
            env=context.environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=METADATA_TIMEOUT,
        )  # fmt: skip
        about = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return about if isinstance(about, dict) and about else None
