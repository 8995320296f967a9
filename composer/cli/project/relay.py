"""The relay of a provided service: a container under the service's name that forwards connections to the endpoints which the
provider has published (docker/compose, docs/extension.md).

The program's image is the engine's own, unless COMPOSE_RELAY_IMAGE names another; both read RELAY_ROUTES, a list of
PORT=HOST:PORT. A provider on this machine can ask for an address to listen on (get-relay-info): that of the host on a network
which only the relay joins.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from msgspec import structs

from composer.cli.errors import CommandError
from composer.plan import labels
from composer.plan.desired import STARTED
from engine.spec.container import Attachment, ContainerSpec, Restart
from engine.spec.network import NetworkSpec
from engine.vocabulary import HOST_GATEWAY

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.plan.desired import Desired, DesiredService
    from engine.spec.network import NetworkRecord

IMAGE = "COMPOSE_RELAY_IMAGE"
LINK_OPTIONS = {"com.docker.network.bridge.enable_ip_masquerade": "false"}
"""No way out, but not `internal`: containers on an internal network cannot reach this machine."""
HOST = "host.docker.internal"
"""The host's name inside the relay."""


def endpoint(service: str, message: str) -> tuple[int, str]:
    """Port and address of a publish-endpoint message, `PORT=HOST:PORT`. Raises CommandError."""
    port, equals, address = message.partition("=")
    host, colon, target = address.rpartition(":")
    valid = port.isdecimal() and 0 < int(port) < 65536 and target.isdecimal() and 0 < int(target) < 65536
    if not (equals and colon and valid) or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise CommandError(
            f'service "{service}": its provider published the endpoint {message!r}; expected PORT=HOST:PORT, such as '
            "80=localhost:49152"
        )
    return int(port), address


def with_relay(context: Context, desired: Desired, name: str, endpoints: Mapping[int, str]) -> Desired:
    """The project with a relay in place of the provided service; without endpoints, as it is. Raises CommandError,
    EngineError."""
    if not endpoints:
        return desired
    service = desired.services[name]
    networks = _networks(desired, name)
    if not networks:
        context.warn(
            f'service "{name}": its provider published endpoints, but no service on a network of the project depends on it'
        )
        return desired
    attachments = [Attachment(network=one, aliases=(name,)) for one in networks]
    if _link(context, desired.project, name):
        attachments.append(Attachment(network=_link_name(desired.project, name)))
    wanted = _relay(context, service, endpoints, attachments)
    _pull_missing_image(context, wanted)
    services = {other: _started(one, name) for other, one in desired.services.items()}
    return structs.replace(desired, services={**services, name: wanted})


def _relay(
    context: Context, service: DesiredService, endpoints: Mapping[int, str], attachments: Iterable[Attachment]
) -> DesiredService:
    image = context.environ.get(IMAGE, "")
    routes = ",".join(f"{port}={_seen_from_relay(endpoints[port])}" for port in sorted(endpoints))
    identity = hashlib.sha256(f"{image}|{routes}".encode()).hexdigest()[:12]
    image_ref = image or context.engine.relay_image()
    container = ContainerSpec(
        name="",
        image="",
        image_ref=image_ref,
        labels={**service.container.labels, labels.HASH: identity, labels.RELAY: identity},
        environment={"RELAY_ROUTES": routes},
        networks=tuple(attachments),
        extra_hosts=((HOST, HOST_GATEWAY),),
        restart=Restart(policy="unless-stopped"),
        cap_drop=("ALL",),
        cap_add=("NET_BIND_SERVICE",),
        init=None if image else True,
    )
    return _replaced(service, container, identity, image_ref, summary={"provider.endpoints": routes, "image": image})


def _replaced(
    service: DesiredService, container: ContainerSpec, identity: str, image: str, *, summary: dict[str, str]
) -> DesiredService:
    """The provided service with one container: its relay."""
    return structs.replace(
        service,
        hash=identity,
        image=image,
        build=None,
        scale=1,
        container=container,
        summary=summary,
        pre_start=(),
        post_start=(),
        pre_stop=(),
    )


def _started(service: DesiredService, name: str) -> DesiredService:
    """The service, waiting only until the relay runs: a provider returns when its resource is ready."""
    needs = tuple(
        structs.replace(need, condition=STARTED) if need.service == name else need for need in service.depends_on
    )
    return structs.replace(service, depends_on=needs)


def with_existing_relays(context: Context, desired: Desired, *, called: Collection[str]) -> Desired:
    """The project with the existing relays of services whose providers are not called."""
    there = {labels.service_of(record): record for record in context.containers() if labels.RELAY in record.spec.labels}
    services = dict(desired.services)
    for name, service in desired.services.items():
        if service.provider is not None and name in there and name not in called:
            record = there[name]
            container = structs.replace(record.spec, name="", image="")
            identity = record.spec.labels.get(labels.HASH, "")
            services[name] = _replaced(service, container, identity, record.spec.image_ref, summary={})
    return structs.replace(desired, services=services)


def information(context: Context, project: str, service: str) -> str:
    """The answer to get-relay-info, one line of JSON: the network that only this service's relay joins, and the host's address
    on it. The network is created if it does not exist. Without one, the list is empty: the provider must listen elsewhere."""
    from composer.cli.project.direct_changes import perform
    from composer.plan.operations import CreateNetwork

    name = _link_name(project, service)
    try:
        if _link(context, project, service) is None or name in context.engine.host_changes([name])[0]:
            spec = NetworkSpec(
                name=name,
                driver_opts=LINK_OPTIONS,
                labels={labels.PROJECT: project, labels.SERVICE: service, labels.RELAY_NETWORK: "true"},
            )
            operation = CreateNetwork(id=0, name=name, cause="a provider asked for it", network=spec)
            perform(context, labels.WITHOUT_PROJECT, [operation])
        found = _link(context, project, service)
    except CommandError as error:
        context.warn(f'service "{service}": no network for its relay: {error}')
        found = None
    answer: list[dict[str, str]] = []
    if found is not None:
        gateway = next((pool.gateway for pool in found.pools if ":" not in pool.gateway), "")
        answer.append({"name": name, **({"gateway": gateway.partition("/")[0]} if gateway else {})})
    return json.dumps({"networks": answer})


def _networks(desired: Desired, name: str) -> list[str]:
    """The project's networks of services that depend on this one. If there are none, the default network."""
    own = {network.spec.name for network in desired.networks.values()}
    users = [one for one in desired.services.values() if any(need.service == name for need in one.depends_on)]
    found = {joined.network for one in users for joined in one.container.networks if joined.network in own}
    if not found and "default" in desired.networks:
        found = {desired.networks["default"].spec.name}
    return sorted(found)


def _seen_from_relay(address: str) -> str:
    """The address, with HOST in place of this machine's own addresses: in the relay, those are the relay's."""
    host, _, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    local = bare.lower() in ("", "localhost")
    try:
        number = ipaddress.ip_address(bare)
        local = number.is_loopback or number.is_unspecified
    except ValueError:
        pass
    return f"{HOST}:{port}" if local else address


def _link_name(project: str, service: str) -> str:
    return f"{project}_{service}_relay"


def _link(context: Context, project: str, service: str) -> NetworkRecord | None:
    """The network of the service's relay, if it exists. Raises CommandError if another network has its name."""
    name = _link_name(project, service)
    for record in context.engine.networks():
        if record.spec.name == name:
            given = record.spec.labels
            if labels.RELAY_NETWORK in given and given.get(labels.PROJECT) == project:
                return record
            raise CommandError(
                f"a network named {name} already exists, and it is not a relay's network\n"
                f"Remove it, so that composer can create its own: composer network rm {name}"
            )
    return None


def _pull_missing_image(context: Context, service: DesiredService) -> None:
    if not context.dry_run and context.engine.image(service.wanted_image) is None:
        from composer.cli.project.acquire import pull_all

        pull_all(context, [structs.replace(service, provider=None)])
