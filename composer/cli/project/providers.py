"""Services that an external program provides (`provider:`): it is called to start, stop and remove them.

    PROGRAM compose metadata                                     → the options of each command, as JSON
    PROGRAM compose --project-name=P up|stop|down|pull --KEY=VALUE … SERVICE
                                                                 → lines of JSON: {"type": …, "message": …}

Types: info and error are shown to the user, debug with --verbose, `setenv` gives dependent services a variable prefixed
with the service's name, `rawsetenv` one without the prefix (docker/compose, docs/extension.md). `publish-endpoint` names
the address of a port: a relay under the service's name forwards connections to it (relay.py). `get-service-config` and
`get-relay-info` request an answer, one line on the program's standard input; `get-image` requests the service's image.
`stop` and `pull` are called if the metadata name them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from msgspec import structs

from composer.cli.errors import CommandError
from composer.cli.project import relay
from composer.cli.project.provider_messages import ANNOUNCED, Provided, converse
from composer.cli.render.progress import State

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.plan.desired import Desired, DesiredService

WORDS = {
    "up": ("Creating", "Created"),
    "stop": ("Stopping", "Stopped"),
    "down": ("Removing", "Removed"),
    "pull": ("Pulling", "Pulled"),
}
OPTIONAL = ("stop", "pull")
"""Commands that are called only if the program's metadata name them."""
METADATA_TIMEOUT = 30
"""Seconds."""


def provide(
    context: Context, desired: Desired, names: Iterable[str], *, built: Iterable[str] = (),
    scale: Mapping[str, int] = MappingProxyType({}),
) -> Desired:  # fmt: skip
    """Start the services with a provider, in order; returns the project with the variables for their dependants, and with
    relays. `built`: the services whose image this command has built; `scale`: service → the scale that the command gives.
    Raises CommandError for failures."""
    wanted, built = set(names), set(built)
    for name in desired.order:
        if name in wanted and desired.services[name].provider is not None:
            pull(context, desired.services[name], "missing", built=name in built)
            provided = _call(context, desired.services[name], "up", scale=scale.get(name))
            given = {f"{name.upper()}_{key}": value for key, value in provided.prefixed.items()}
            services = {
                other: with_variables(context, service, given, provided.plain) if _needs(service, name) else service
                for other, service in desired.services.items()
            }
            desired = structs.replace(desired, services=services)
            desired = relay.with_relay(context, desired, name, provided.endpoints)
    return desired


def pull(context: Context, service: DesiredService, policy: str, *, built: bool = False) -> None:
    """Let the provider get the service's image: with the policy `missing`, any that it has is enough; with `always`, the
    latest. Raises CommandError."""
    assert service.provider is not None
    image = service.provider.image
    if not image:
        return
    here = built or service.pull_policy in ("build", "never") or not service.provider.named
    flags = [f"--image={image}", f"--source={'local' if here else 'registry'}", f"--policy={policy}"]
    record = context.engine.image(image)
    if record is not None:
        from composer.view.api_format import timestamp

        flags += [f"--digest={record.id}", f"--created={timestamp(record.created_at)}"]
    _call(context, service, "pull", flags)


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


def _call(
    context: Context, service: DesiredService, action: str, more: Iterable[str] = (), *, scale: int | None = None
) -> Provided:
    """Call the program with the options that it knows, and the flags `more`; returns what it says of its resource."""
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
    if action in OPTIONAL and (about is None or about.get(action) is None):
        return Provided()
    for name, parameter in (known or {}).items():
        if parameter.get("required") and name not in options:
            raise CommandError(f'required parameter "{name}" is missing from provider "{kind}" definition')
    flags = [f"--{key}={value}" for key, values in options.items() if known is None or key in known for value in values]
    words = [program, "compose", f"--project-name={context.project_name}", action, *flags, *more, service.name]
    working, done = WORDS[action]
    if context.dry_run:
        return Provided()
    with context.progress(action) as progress:
        progress.update(service.name, working)
        found, code = converse(context, service.name, words, progress, pulling=action == "pull", scale=scale)
        if code or found.error:
            progress.update(service.name, "Error", State.ERROR)
            why = found.error or f"it ended with exit code {code}"
            raise CommandError(f'service "{service.name}": provider {kind} failed ({action}): {why}')
        progress.update(service.name, done, State.DONE)
    return found


def _metadata(context: Context, program: str) -> dict[str, Any] | None:
    """The options that the program declares; None if it declares none: then it gets all options."""
    try:
        done = subprocess.run(
            [program, "compose", "metadata"],
            env={**context.environ, **ANNOUNCED}, stdin=subprocess.DEVNULL, capture_output=True, timeout=METADATA_TIMEOUT,
        )  # fmt: skip
        about = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return about if isinstance(about, dict) and about else None
