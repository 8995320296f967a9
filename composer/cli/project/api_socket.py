"""Services that use the Docker API of this machine (`use_api_socket`): their containers get the socket of `composer serve` as
/var/run/docker.sock, and the user's registry credentials in a configuration of the docker client."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from msgspec import structs

from composer.cli.errors import CommandError
from engine.spec.container import Mount

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.plan.desired import Desired, DesiredService
    from engine.spec.container import ContainerSpec
    from engine.spec.credentials import Credentials

SOCKET = "/var/run/docker.sock"
FOLDER = "/run/secrets/docker"
"""Where the client's configuration is in the container, if the service does not set DOCKER_CONFIG."""


def with_socket(context: Context, desired: Desired, names: Iterable[str]) -> Desired:
    """The project in which the services and jobs that want the socket have it. Raises CommandError if nothing listens on it
    and one of the services `names` needs it, EngineError for unreadable credentials."""
    path = f"{context.roots.run}/docker.sock"
    wanted = {name for name in names if desired.services[name].api_socket}
    if wanted and not context.dry_run:
        _check(path, min(wanted))
    configuration = json.dumps(
        {"auths": {key: _entry(one) for key, one in context.engine.stored_credentials().items()}}
    )

    def given(service: DesiredService) -> DesiredService:
        if not service.api_socket:
            return service
        hooks = tuple(
            structs.replace(hook, container=_with_mounts(hook.container, path, configuration))
            for hook in service.pre_start
        )
        return structs.replace(service, container=_with_mounts(service.container, path, configuration), pre_start=hooks)

    return structs.replace(
        desired,
        services={name: given(service) for name, service in desired.services.items()},
        jobs={name: structs.replace(job, service=given(job.service)) for name, job in desired.jobs.items()},
    )


def _check(path: str, service: str) -> None:
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(path)
    except OSError:
        raise CommandError(
            f'service "{service}": use_api_socket needs the Docker API, and nothing answers at {path}\n'
            "Start the server in another terminal, or as a system service: composer serve"
        ) from None


def _with_mounts(spec: ContainerSpec, path: str, configuration: str) -> ContainerSpec:
    mounts = [*spec.mounts, Mount(type="bind", source=path, target=SOCKET, create_host_path=False)]
    environment = spec.environment
    if "DOCKER_CONFIG" not in environment:
        mounts.append(Mount(type="file", target=f"{FOLDER}/config.json", content=configuration, mode=0o444))
        environment = {**environment, "DOCKER_CONFIG": FOLDER}
    return structs.replace(spec, mounts=tuple(mounts), environment=environment)


def _entry(credentials: Credentials) -> dict[str, str]:
    if credentials.identity_token:
        return {"identitytoken": credentials.identity_token}
    pair = f"{credentials.username}:{credentials.password}"
    return {"auth": base64.b64encode(pair.encode()).decode()}
