"""Create links for many containers at once: veth pairs into network namespaces, with addresses and routes."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import threading
import time
from collections.abc import Iterable, Sequence

from msgspec import Struct

from engine.errors import EngineError, NotFound, OperationFailed
from engine.net import endpoint, options
from engine.net.endpoint import Plan
from engine.net.lan import settings as lan
from engine.net.rtnetlink import Rtnetlink, in_other_namespaces, inside
from engine.spec import networkoptions
from engine.spec.network import NetworkRecord
from engine.spec.state import Endpoint

LOOKS = 5000
"""How many times we retry to open the namespace of a process that is just changing its credentials (ptrace(2), access
mode checking)."""


class _Making(Struct, frozen=True):
    """A pair to create, its message, and, if its bridge port has non-default settings, the message for that."""

    job: int
    plan: Plan
    pair: bytes
    port: bytes | None


def plug(jobs: Sequence[tuple[int, Sequence[Plan]]]) -> list[EngineError | None]:
    """For each (pid, plans), create the pairs and set up the namespace of `pid`; returns None or the error for each.
    One send creates the pairs of all jobs. The links of a failed job disappear with its namespace."""
    failures: list[EngineError | None] = [None] * len(jobs)
    spaces: dict[int, int] = {}
    making: list[_Making] = []
    masters: dict[str, int] = {}
    try:
        with Rtnetlink() as kernel:
            for number, (pid, plans) in enumerate(jobs):
                try:
                    spaces[number] = _namespace(pid)
                    making += [_pair(kernel, number, plan, spaces[number], masters) for plan in plans]
                except EngineError as failure:
                    failures[number] = failure
            making = [one for one in making if failures[one.job] is None]
            for one, failed in zip(making, _make(kernel, making), strict=True):
                failures[one.job] = failures[one.job] or failed
        _configure([plans for _, plans in jobs], spaces, failures)
    finally:
        for space in spaces.values():
            os.close(space)
    return failures


def _configure(wanted: Sequence[Sequence[Plan]], spaces: dict[int, int], failures: list[EngineError | None]) -> None:
    """Set up the namespaces of jobs without a failure, and record new failures."""
    ready: dict[int, tuple[Rtnetlink, list[bytes]]] = {}
    try:
        with in_other_namespaces() as enter:
            for number, plans in enumerate(wanted):
                if failures[number] is None:
                    try:
                        enter(spaces[number])
                        ready[number] = _commands(plans)
                    except EngineError as failure:
                        failures[number] = failure
        for number, (inner, commands) in ready.items():
            try:
                inner.do("configure the network of", "the container", commands)
                _announce(inner, wanted[number])
            except EngineError as failure:
                failures[number] = failure
    finally:
        for inner, _ in ready.values():
            inner.close()


def _announce(inner: Rtnetlink, plans: Sequence[Plan]) -> None:
    """Announce hardware addresses of links, as often as their networks require, in a thread: the first announcement may
    be sent before the bridge port forwards."""
    from engine.net import messages

    wanted = [(plan, *options.announcements(plan.record)) for plan in plans]
    steps = sorted(
        (number * seconds, messages.hardware_address(inner.index(plan.endpoint.interface), plan.endpoint.mac_address))
        for plan, count, seconds in wanted
        for number in range(1, count + 1)
    )
    if not steps:
        return
    own = inner.duplicate()

    def run() -> None:
        begun = time.monotonic()
        with own:
            for at, message in steps:
                time.sleep(max(begun + at - time.monotonic(), 0))
                own.do("announce the addresses of", "the container", [message], accept=(errno.ENODEV,))

    threading.Thread(target=run, daemon=True).start()


def remove(names: Iterable[str]) -> None:
    """Remove links; ignore those that no longer exist."""
    from engine.net import messages

    with Rtnetlink() as kernel:
        for name in names:
            kernel.do("remove link", name, [messages.delete_link(name)], accept=(errno.ENODEV,))


def discard(container_ids: Iterable[str]) -> None:
    """Remove the pairs of containers that have exited. A TCP connection whose peer is silent keeps a network namespace,
    and its address, for minutes (tcp_orphan_retries, tcp(7)): it would answer in place of the address's next owner.
    Failures are ignored: in the end the kernel removes the pairs."""
    from engine.net import messages

    prefixes = tuple(endpoint.host_interface(one, 0)[:-2] for one in container_ids)
    with contextlib.suppress(OSError, OperationFailed), Rtnetlink() as kernel:
        names = [link.name for link in kernel.links() if link.name.startswith(prefixes)]
        if names:
            kernel.do("remove links", f"{names[0]} …", messages.delete_together(names), accept=(errno.ENODEV,))


def replug(record: NetworkRecord, names: Iterable[str]) -> list[str]:
    """Bring these host ends of pairs up as ports of the network's bridge. Returns the missing ones."""
    from engine.net import messages

    isolated = not options.is_true(record, networkoptions.ICC)
    with Rtnetlink() as kernel:
        master = kernel.index(record.bridge)
        missing = []
        for name in names:
            try:
                index = kernel.index(name)
            except OSError:
                missing.append(name)
                continue
            port = [messages.port_of(index, master), messages.bridge_port(name, isolated=isolated)]
            kernel.do("connect", name, [*port, messages.link_up(index)], accept=(errno.ENODEV,))
        return missing


def unplug(pid: int, endpoints: Sequence[Endpoint]) -> None:
    """Remove the links of a running container's endpoints."""
    remove(one.host_interface for one in endpoints if one.host_interface)
    if inner := [one.interface for one in endpoints if not one.host_interface]:
        space = _namespace(pid)
        try:
            with inside(space):
                remove(inner)
        finally:
            os.close(space)


def route(pid: int, endpoints: Sequence[Endpoint]) -> None:
    """Set the namespace's default route through the first of `endpoints` that leads outside."""
    space = _namespace(pid)
    try:
        with inside(space):
            kernel = Rtnetlink()
        with kernel:
            indexes = [kernel.index(one.interface) for one in endpoints]
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
            time.sleep(0.002)  # no event exists for it
        except OSError as error:
            failure = error
            break
    raise OperationFailed.of("open the network namespace of process", pid, failure) from failure


def _pair(kernel: Rtnetlink, job: int, plan: Plan, space: int, masters: dict[str, int]) -> _Making:
    """The messages for a pair. `masters`: the indices of bridges, as far as known. Networks without inter-container
    communication isolate their bridge ports, because packet filters do not see traffic within a bridge. Only containers
    with published ports need hairpin mode."""
    from engine.net import messages

    if lan.is_lan(plan.record):
        from engine.net.lan import links

        return _Making(job, plan, links.link(kernel, plan, space), None)
    end, bridge = plan.endpoint, plan.record.bridge
    if bridge not in masters:
        try:
            masters[bridge] = kernel.index(bridge)
        except OSError as error:
            raise NotFound("network", plan.record.spec.name, hint="It was removed concurrently.") from error
    size = options.mtu(plan.record)
    pair = messages.veth(end.host_interface, masters[bridge], end.interface, space, end.mac_address, size)
    isolated = not options.is_true(plan.record, networkoptions.ICC)
    port = messages.bridge_port(end.host_interface, isolated=isolated) if isolated or plan.published else None
    return _Making(job, plan, pair, port)


def _make(kernel: Rtnetlink, making: Sequence[_Making]) -> list[EngineError | None]:
    """Create the pairs, and return the errors. A pair left from the container's previous run, whose namespace still
    exists, is replaced."""
    errors = _made(kernel, making)
    old = [i for i, error in enumerate(errors) if error[0] == errno.EEXIST and making[i].plan.endpoint.host_interface]
    if old:
        remove(making[i].plan.endpoint.host_interface for i in old)
        for i, error in zip(old, _made(kernel, [making[i] for i in old]), strict=True):
            errors[i] = error
    failures: list[EngineError | None] = []
    for one, (pair, port) in zip(making, errors, strict=True):
        if pair and lan.is_lan(one.plan.record):
            from engine.net.lan import links

            failures.append(links.failure(one.plan, pair))
            continue
        operation, number = ("create the veth pair", pair) if pair else ("set up the bridge port", port)
        subject = f"{one.plan.endpoint.host_interface} on {one.plan.record.bridge}"
        failed = OperationFailed(operation, subject, number, detail=os.strerror(number))
        failures.append(failed if number else None)
    return failures


def _made(kernel: Rtnetlink, making: Sequence[_Making]) -> list[tuple[int, int]]:
    """The errno of each pair and of its port."""
    errors = iter(kernel.run([message for one in making for message in (one.pair, one.port) if message is not None]))
    return [(next(errors), 0 if one.port is None else next(errors)) for one in making]


def _set(path: str, value: str) -> None:
    """Write a setting below /proc/sys/net of the namespace that this thread is in."""
    try:
        fd = os.open(f"/proc/sys/net/{path}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except FileNotFoundError:
        if not path.endswith("/disable_ipv6"):  # a kernel without IPv6 has no setting to switch it off
            raise OperationFailed("set", f"net/{path}", errno.ENOENT) from None
    except OSError as error:
        raise OperationFailed.of("set", f"net/{path}", error) from error


def _commands(plans: Sequence[Plan]) -> tuple[Rtnetlink, list[bytes]]:
    """Runs in the namespace: writes its settings, and returns a socket in it and the messages that bring up lo and the
    links, with addresses and default route."""
    from engine.net import messages

    for plan in plans:
        # No link-local address and no multicast reports on a link without an IPv6 address.
        v6 = plan.endpoint.ipv6_address or any(":" in address for address in plan.attachment.link_local_ips)
        _set(f"ipv6/conf/{plan.endpoint.interface}/disable_ipv6", "0" if v6 else "1")
        if v6:
            _set(f"ipv6/conf/{plan.endpoint.interface}/accept_dad", "0")  # we assign unique addresses
        if options.announcements(plan.record)[0]:
            _set(f"ipv4/conf/{plan.endpoint.interface}/arp_notify", "1")
            if v6:
                _set(f"ipv6/conf/{plan.endpoint.interface}/ndisc_notify", "1")
        for path, value in plan.sysctls:
            _set(path, value)
    kernel = Rtnetlink()
    try:
        number = {plan.endpoint.interface: kernel.index(plan.endpoint.interface) for plan in plans}
    except OSError as error:
        kernel.close()
        raise OperationFailed.of("find the links of", "the container", error) from error
    commands = [messages.link_up(1)]
    for plan in plans:
        end = plan.endpoint
        index = number[end.interface]
        commands.append(messages.link_up(index))
        if end.ipv4_address:
            commands.append(messages.address(index, end.ipv4_address, end.ipv4_prefix, _broadcast(end)))
        if end.ipv6_address:
            commands.append(messages.address(index, end.ipv6_address, end.ipv6_prefix))
        for address in plan.attachment.link_local_ips:
            commands.append(messages.address(index, address, 64 if ":" in address else 16))
    leading = [plan.endpoint for plan in endpoint.outward(plans) if plan.routed]
    return kernel, [*commands, *_routes([(number[end.interface], end) for end in leading])]


def _broadcast(end: Endpoint) -> str:
    """The highest address of the subnet; a subnet of two hosts has none (RFC 3021)."""
    if end.ipv4_prefix >= 31:
        return ""
    return str(ipaddress.IPv4Address(int(ipaddress.IPv4Address(end.ipv4_address)) | (1 << 32 - end.ipv4_prefix) - 1))


def _routes(endpoints: Sequence[tuple[int, Endpoint]]) -> list[bytes]:
    """A default route for each IP version, through the first endpoint with a gateway."""
    from engine.net import messages

    found = []
    for field in ("ipv4_gateway", "ipv6_gateway"):
        for index, end in endpoints:
            if gateway := getattr(end, field):
                found.append(messages.default_route(gateway, index))
                break
    return found
