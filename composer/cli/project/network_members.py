"""Connecting containers of any project to networks and disconnecting them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.errors import CommandError
from composer.cli.project.direct_changes import CAUSE, perform
from composer.plan.operations import Connect, Disconnect
from composer.serve.docker import body
from composer.serve.docker.create import attachment
from composer.view import lookup, networks
from composer.view.errors import Unknown

if TYPE_CHECKING:
    from composer.cli.parsing.flags import Args
    from composer.cli.project.context import Context


def connect(context: Context, args: Args) -> int:
    network, name = networks.need(context.engine, args.positional[0]).spec.name, args.positional[1]
    record = lookup.container(context.engine, name)
    if reason := networks.unjoinable(record, network):
        raise CommandError(reason)
    if network in {one.network for one in record.spec.networks}:
        raise CommandError(f"endpoint with name {record.spec.name} already exists in network {network}")
    endpoint = body.Endpoint(
        ipam_config=body.EndpointIPAM(
            ipv4_address=args.ip or None, ipv6_address=args.ip6 or None, link_local_ips=args.link_local_ip
        ),
        aliases=args.alias,
        links=args.link,
        driver_opts=dict(text.partition("=")[::2] for text in args.driver_opt),
        gw_priority=args.gw_priority,
    )
    if not context.dry_run:
        operation = Connect(
            id=0, name=record.spec.name, cause=CAUSE, container_id=record.id, attachment=attachment(network, endpoint)
        )
        perform(context, record.group, [operation])
    return 0


def disconnect(context: Context, args: Args) -> int:
    network, name = networks.need(context.engine, args.positional[0]).spec.name, args.positional[1]
    try:
        record = lookup.container(context.engine, name)
    except Unknown:
        if args.force:
            return 0
        raise
    if network not in {one.network for one in record.spec.networks}:
        raise CommandError(f"container {record.id} is not connected to network {network}")
    if not context.dry_run:
        operation = Disconnect(id=0, name=record.spec.name, cause=CAUSE, container_id=record.id, network=network)
        perform(context, record.group, [operation])
    return 0
