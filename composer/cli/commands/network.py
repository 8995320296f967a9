"""composer network: the networks of all projects."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError, UsageError
from composer.cli.parsing.command_table import group
from composer.cli.parsing.flags import NO_SWARM, Args, Command, Flag
from composer.cli.render.listing import (
    FILTER,
    FORCE,
    FORMAT,
    INSPECT,
    NO_TRUNC,
    QUIET,
    ids_only,
    inspect,
    labels,
    listing,
    short,
)
from composer.view import networks
from composer.view.filters import Filters

if TYPE_CHECKING:
    from collections.abc import Iterable

    from composer.cli.project.context import Context
    from engine.spec.network import NetworkRecord, Pool

HEADERS = {
    "CreatedAt": "CREATED", "Driver": "DRIVER", "ID": "NETWORK ID", "IPv4": "IPV4", "IPv6": "IPV6",
    "Internal": "INTERNAL", "Labels": "LABELS", "Name": "NAME", "Scope": "SCOPE",
}  # fmt: skip


def ls(context: Context, args: Args) -> int:
    from composer.view.api_format import go_time

    found = networks.selected(context.engine, Filters.of_flags(args.filter, networks.FILTERS))
    found.sort(key=lambda record: record.spec.name)
    if ids_only(args):
        print("".join(f"{short(record.id, full=args.no_trunc)}\n" for record in found), end="")
        return 0
    rows = [
        {
            "CreatedAt": go_time(record.created_at),
            "Driver": record.spec.driver,
            "ID": short(record.id, full=args.no_trunc),
            "IPv4": str(record.spec.enable_ipv4).lower(),
            "IPv6": str(record.spec.enable_ipv6).lower(),
            "Internal": str(record.spec.internal).lower(),
            "Labels": labels(record.spec.labels),
            "Name": record.spec.name,
            "Scope": "local",
        }
        for record in found
    ]
    print(listing(args.format, rows, HEADERS, ("ID", "Name", "Driver", "Scope")), end="")
    return 0


def show(context: Context, args: Args) -> int:
    def one(name: str) -> dict[str, object]:
        record = networks.need(context.engine, name)
        return {**networks.shown(record), "Containers": networks.members(context.engine, record)}

    text, errors = inspect(args.positional, one, args.format)
    print(text, end="")
    print("".join(f"Error response from daemon: {error}\n" for error in errors), end="", file=sys.stderr)
    return 1 if errors else 0


def key(context: Context, args: Args) -> int:
    print(context.engine.overlay_key())
    return 0


def create(context: Context, args: Args) -> int:
    from composer.cli.project.direct_changes import CAUSE, perform
    from composer.plan.labels import group_of
    from composer.plan.operations import CreateNetwork
    from engine.spec.network import NetworkSpec

    name = args.positional[0]
    networks.check_free(context.engine, name)
    spec = NetworkSpec(
        name=name,
        driver=args.driver,
        driver_opts=_pairs(args.opt),
        internal=args.internal,
        attachable=args.attachable,
        enable_ipv4=args.ipv4,
        enable_ipv6=args.ipv6,
        ipam_driver="" if args.ipam_driver == "default" else args.ipam_driver,
        ipam_options=_pairs(args.ipam_opt),
        pools=_pools(args),
        labels=_pairs(args.label),
    )
    if not context.dry_run:
        perform(context, group_of(spec.labels), [CreateNetwork(id=0, name=name, cause=CAUSE, network=spec)])
        print(networks.need(context.engine, name).id)
    return 0


def _pairs(texts: Iterable[str]) -> dict[str, str]:
    return dict(text.partition("=")[::2] for text in texts)


def _pools(args: Args) -> tuple[Pool, ...]:
    """Each --subnet with the --ip-range, --gateway and --aux-address in it. Raises UsageError for those in none."""
    import ipaddress

    from engine.spec.network import Pool

    try:
        subnets = {text: ipaddress.ip_network(text, strict=False) for text in _listed(args.subnet)}
        ranges = [(text, ipaddress.ip_network(text, strict=False)[0]) for text in _listed(args.ip_range)]
        gateways = [(text, ipaddress.ip_address(text)) for text in _listed(args.gateway)]
        others = [(key, ipaddress.ip_address(text)) for key, text in _pairs(args.aux_address).items()]
    except ValueError as error:
        raise UsageError(f"invalid address: {error}") from None
    for text, address in (*ranges, *gateways, *others):
        if not any(address in subnet for subnet in subnets.values()):
            raise UsageError(f"no matching subnet for {text}: give one that contains it with --subnet")
    return tuple(
        Pool(
            subnet=text,
            ip_range=next((one for one, first in ranges if first in subnet), ""),
            gateway=next((one for one, address in gateways if address in subnet), ""),
            aux_addresses={key: str(address) for key, address in others if address in subnet},
        )
        for text, subnet in subnets.items()
    )


def _listed(texts: Iterable[str]) -> list[str]:
    return [one.strip() for text in texts for one in text.split(",") if one.strip()]


def _remove(context: Context, record: NetworkRecord) -> None:
    from composer.cli.project.direct_changes import CAUSE, perform
    from composer.plan.labels import group_of
    from composer.plan.operations import RemoveNetwork

    name = record.spec.name
    perform(context, group_of(record.spec.labels), [RemoveNetwork(id=0, name=name, cause=CAUSE)])


def rm(context: Context, args: Args) -> int:
    from composer.cli.project.direct_changes import each

    def remove(name: str) -> None:
        record = networks.need(context.engine, name)
        networks.check_removable(context.engine, record)
        if not context.dry_run:
            _remove(context, record)
        print(name)

    return each(args.positional, remove, force=args.force)


def prune(context: Context, args: Args) -> int:
    from composer.cli.project.direct_changes import agreed

    removable = networks.unused(context.engine, Filters.of_flags(args.filter, networks.PRUNE_FILTERS))
    lines = [f"network {record.spec.name}" for record in removable]
    if not agreed(
        context, "This will remove all custom networks not used by at least one container.", lines, force=args.force
    ):
        return 0
    remove_unused(context, removable)
    return 0


def remove_unused(context: Context, removable: list[NetworkRecord]) -> None:
    """Remove networks and report them."""
    if removable:
        print("Deleted Networks:")
    for record in removable:
        try:
            _remove(context, record)
        except CommandError as error:  # a container was connected to it meanwhile
            print(error, file=sys.stderr)
            continue
        print(record.spec.name)
    print(end="\n" if removable else "")


def connect(context: Context, args: Args) -> int:
    from composer.cli.project import network_members

    return network_members.connect(context, args)


def disconnect(context: Context, args: Args) -> int:
    from composer.cli.project import network_members

    return network_members.disconnect(context, args)


GROUP = group(
    "network",
    {
        "connect": (
            Command(
                "network connect",
                "Connect a container to a network",
                "network connect [OPTIONS] NETWORK CONTAINER",
                (
                    Flag("alias", "Add a network-scoped alias for the container", "strings"),
                    Flag("driver-opt", "Driver options for the network: KEY=VALUE", "strings"),
                    Flag("gw-priority", "Gateway priority: the highest provides the default gateway", "int", default=0),
                    Flag("ip", "IPv4 address", "string"),
                    Flag("ip6", "IPv6 address", "string"),
                    Flag("link", "Add a link to another container", "strings"),
                    Flag("link-local-ip", "Add a link-local address for the container", "strings"),
                ),
                positional=(2, 2),
            ),
            connect,
        ),
        "disconnect": (
            Command(
                "network disconnect",
                "Disconnect a container from a network",
                "network disconnect [OPTIONS] NETWORK CONTAINER",
                (Flag("force", "Succeed if the container does not exist", short="f"),),
                positional=(2, 2),
            ),
            disconnect,
        ),
        "create": (
            Command(
                "network create",
                "Create a network",
                "network create [OPTIONS] NETWORK",
                (
                    Flag("attachable", "Enable manual container attachment"),
                    Flag("aux-address", "Auxiliary addresses used by the network driver: NAME=ADDRESS", "strings"),
                    Flag("config-from", "Copy another network's configuration", "string", refused=NO_SWARM),
                    Flag("config-only", "Create a configuration only network", refused=NO_SWARM),
                    Flag("driver", "Driver to manage the network", "string", short="d", default="bridge"),
                    Flag("gateway", "Gateway of a subnet", "strings"),
                    Flag("ingress", "Create swarm routing-mesh network", refused=NO_SWARM),
                    Flag("internal", "Restrict external access to the network"),
                    Flag("ip-range", "Allocate container addresses from a part of a subnet", "strings"),
                    Flag("ipam-driver", "Driver that manages addresses", "string", default="default"),
                    Flag("ipam-opt", "Set IPAM driver options: KEY=VALUE", "strings"),
                    Flag("ipv4", "Enable or disable IPv4 address assignment", default=True),
                    Flag("ipv6", "Enable or disable IPv6 address assignment"),
                    Flag("label", "Set metadata on a network: KEY=VALUE", "strings"),
                    Flag("opt", "Set driver specific options: KEY=VALUE", "strings", short="o"),
                    Flag("scope", "Control the network's scope", "string", refused=NO_SWARM),
                    Flag("subnet", "Subnet in CIDR format", "strings"),
                ),
                positional=(1, 1),
            ),
            create,
        ),
        "inspect": (
            Command(
                "network inspect",
                "Display detailed information on one or more networks",
                "network inspect [OPTIONS] NETWORK [NETWORK...]",
                (INSPECT, Flag("verbose", "Verbose output for diagnostics", short="v")),
                positional=(1, None),
            ),
            show,
        ),
        "key": (
            Command(
                "network key",
                "Create this host's key for encrypted overlay networks, and print the public key",
                "network key",
                positional=(0, 0),
            ),
            key,
        ),
        "ls": (
            Command(
                "network ls",
                "List networks",
                "network ls [OPTIONS]",
                (FILTER, FORMAT, NO_TRUNC, QUIET),
                positional=(0, 0),
            ),
            ls,
        ),
        "prune": (
            Command(
                "network prune",
                "Remove all unused networks",
                "network prune [OPTIONS]",
                (Flag("filter", "Filter the networks: until=TIME, label=KEY", "strings", metavar="filter"), FORCE),
                positional=(0, 0),
            ),
            prune,
        ),
        "rm": (
            Command(
                "network rm",
                "Remove one or more networks",
                "network rm [OPTIONS] NETWORK [NETWORK...]",
                (Flag("force", "Ignore networks that do not exist", short="f"),),
                positional=(1, None),
            ),
            rm,
        ),
    },
    {"list": "ls", "remove": "rm"},
)
