"""Links in the kernel: veth pairs into network namespaces, with addresses and routes there; many at once."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import time
from collections.abc import Iterable, Sequence

from engine.errors import EngineError, NotFound, OperationFailed
from engine.net import endpoint, nat, options
from engine.net.endpoint import Plan
from engine.net.rtnetlink import Rtnetlink, inside
from engine.spec.state import Endpoint

LOOKS = 100
"""How often a process is looked at that is just changing its credentials: it may not be then (ptrace(2), access mode
checking)."""


def plug(jobs: Sequence[tuple[int, Sequence[Plan]]]) -> list[EngineError | None]:
    """For each (pid, plans) make the pairs and set up the namespace of `pid`; None or what went wrong with it.

    The pairs of all jobs are made by one send. What a failed job made goes with its namespace.
    """
    failures: list[EngineError | None] = [None] * len(jobs)
    spaces: dict[int, int] = {}
    making: list[tuple[int, Plan, bytes]] = []
    try:
        for number, (pid, plans) in enumerate(jobs):
            try:
                spaces[number] = _namespace(pid)
                making += [(number, plan, _pair(plan, spaces[number])) for plan in plans]
            except EngineError as failure:
                failures[number] = failure
        making = [entry for entry in making if failures[entry[0]] is None]
        with Rtnetlink() as kernel:
            errors = _make(kernel, making)
            for (number, plan, _), error in zip(making, errors, strict=True):
                if error:
                    detail = f"{plan.endpoint.host_interface} on {plan.record.bridge}"
                    failures[number] = OperationFailed("make the veth pair", detail, error, detail=os.strerror(error))
            _set_ports(kernel, [plan for number, plan, _ in making if failures[number] is None])
        for number, (_, plans) in enumerate(jobs):
            if failures[number] is None:
                try:
                    _configure(spaces[number], plans)
                except EngineError as failure:
                    failures[number] = failure
    finally:
        for space in spaces.values():
            os.close(space)
    return failures


def remove(names: Iterable[str]) -> None:
    """Remove links; one that has gone does not matter."""
    from engine.net import messages

    with Rtnetlink() as kernel:
        for name in names:
            kernel.do("remove link", name, [messages.delete_link(name)], accept=(errno.ENODEV,))


def route(pid: int, endpoints: Sequence[Endpoint]) -> None:
    """Give the namespace its default route by the first of `endpoints` that leads outside."""
    space = _namespace(pid)
    try:
        kernel, indexes = _enter(space, [one.interface for one in endpoints], [])
        with kernel:
            kernel.do("route in", "the container", _routes(list(zip(indexes, endpoints, strict=True))))
    finally:
        os.close(space)


def _namespace(pid: int) -> int:
    failure = OSError()
    for _ in range(LOOKS):
        try:
            return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError as error:
            failure = error
            time.sleep(0.002)  # there is no event for it
        except OSError as error:
            failure = error
            break
    raise OperationFailed.of("open the network namespace of process", pid, failure) from failure


def _pair(plan: Plan, space: int) -> bytes:
    from engine.net import messages

    end = plan.endpoint
    try:
        master = socket.if_nametoindex(plan.record.bridge)
    except OSError as error:
        raise NotFound("network", plan.record.spec.name, hint="It was removed in this moment.") from error
    return messages.veth(end.host_interface, master, end.interface, space, end.mac_address, options.mtu(plan.record))


def _make(kernel: Rtnetlink, making: Sequence[tuple[int, Plan, bytes]]) -> list[int]:
    """The errno of each. A pair of the container's last life, whose namespace is not buried yet, gives way."""
    errors = kernel.run([message for _, _, message in making])
    old = [i for i, error in enumerate(errors) if error == errno.EEXIST]
    if old:
        remove(making[i][1].endpoint.host_interface for i in old)
        for i, error in zip(old, kernel.run([making[i][2] for i in old]), strict=True):
            errors[i] = error
    return errors


def _set_ports(kernel: Rtnetlink, plans: Sequence[Plan]) -> None:
    """The pairs' ends at the bridge. Networks without inter-container communication are isolated here: what the bridge
    forwards by itself no packet rule sees."""
    from engine.net import messages

    if plans:
        commands = [
            messages.bridge_port(
                socket.if_nametoindex(plan.endpoint.host_interface),
                isolated=not nat.is_true(plan.record, nat.ICC_OPTION),
            )
            for plan in plans
        ]
        kernel.do("set up", "bridge ports", commands)


def _enter(space: int, names: Sequence[str], sysctls: Sequence[tuple[str, str]]) -> tuple[Rtnetlink, list[int]]:
    """In the namespace: a netlink socket that stays there, the links' indexes, settings written below /proc/sys/net."""
    with inside(space):
        for path, value in sysctls:
            try:
                with open(f"/proc/sys/net/{path}", "w", encoding="ascii") as file:
                    file.write(value)
            except FileNotFoundError:
                if not path.endswith("/disable_ipv6"):  # a kernel without IPv6 has no setting to switch it off
                    raise OperationFailed("set", f"net/{path}", errno.ENOENT) from None
            except OSError as error:
                raise OperationFailed.of("set", f"net/{path}", error) from error
        return Rtnetlink(), [socket.if_nametoindex(name) for name in names]


def _configure(space: int, plans: Sequence[Plan]) -> None:
    """lo up, links up, addresses and the default route inside the network namespace."""
    from engine.net import messages

    settings = []
    for plan in plans:
        # A link without an IPv6 address stays quiet: no link-local address, no multicast reports.
        v6 = plan.endpoint.ipv6_address or any(":" in address for address in plan.attachment.link_local_ips)
        settings.append((f"ipv6/conf/{plan.endpoint.interface}/disable_ipv6", "0" if v6 else "1"))
        settings += plan.sysctls
    kernel, indexes = _enter(space, [plan.endpoint.interface for plan in plans], settings)
    with kernel:
        commands = [messages.link_up(1)]
        for index, plan in zip(indexes, plans, strict=True):
            end = plan.endpoint
            commands.append(messages.link_up(index))
            if end.ipv4_address:
                network = ipaddress.ip_network(f"{end.ipv4_address}/{end.ipv4_prefix}", strict=False)
                broadcast = str(network.broadcast_address)
                commands.append(messages.address(index, end.ipv4_address, end.ipv4_prefix, broadcast))
            if end.ipv6_address:
                commands.append(messages.address(index, end.ipv6_address, end.ipv6_prefix))
            for address in plan.attachment.link_local_ips:
                commands.append(messages.address(index, address, 64 if ":" in address else 16))
        number = {plan.endpoint.interface: index for index, plan in zip(indexes, plans, strict=True)}
        leading = [plan.endpoint for plan in endpoint.outward(plans) if plan.routed]
        commands += _routes([(number[end.interface], end) for end in leading])
        kernel.do("configure the network of", "the container", commands)


def _routes(endpoints: Sequence[tuple[int, Endpoint]]) -> list[bytes]:
    """A default route for each IP version, by the first that has a gateway."""
    from engine.net import messages

    found = []
    for field in ("ipv4_gateway", "ipv6_gateway"):
        for index, end in endpoints:
            if gateway := getattr(end, field):
                found.append(messages.default_route(gateway, index))
                break
    return found
