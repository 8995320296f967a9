"""The names that a container can resolve: those of containers that share a network with it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable

from engine.net.neighbours import Neighbours
from engine.spec.state import Endpoint


class Names:
    """The DNS server's table: network → name → addresses. `others` finds containers of other groups."""

    def __init__(self, others: Neighbours | None = None) -> None:
        self._others = others
        self.generation = 0
        """Incremented with every change of our containers' names."""
        self._endpoints: dict[str, tuple[tuple[str, ...], tuple[Endpoint, ...]]] = {}
        self._by_network: dict[str, dict[str, list[str]]] = {}
        self._reverse: dict[str, dict[str, str]] = {}
        self._links: dict[str, dict[str, list[str]]] = {}

    def publish(
        self,
        container_id: str,
        names: Iterable[str],
        endpoints: Iterable[Endpoint],
        links: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Make the container resolvable by `names` (its name, short id, host name) and the aliases of each endpoint.
        `links`, (name, alias) pairs, apply only to questions of this container; `endpoints` are in the order in which it asks
        its networks."""
        self.withdraw(container_id)
        self.generation += 1
        for name, alias in links:
            self._links.setdefault(container_id, {}).setdefault(alias.lower(), []).append(name.lower())
        entry = (tuple(names), tuple(endpoints))
        self._endpoints[container_id] = entry
        for endpoint in entry[1]:
            table = self._by_network.setdefault(endpoint.network, {})
            addresses = [a for a in (endpoint.ipv4_address, endpoint.ipv6_address) if a]
            for name in dict.fromkeys(n.lower() for n in (*entry[0], *endpoint.aliases)):
                table.setdefault(name, []).extend(addresses)
            for address in addresses:
                self._reverse.setdefault(endpoint.network, {})[address] = f"{entry[0][0]}.{endpoint.network}"

    def withdraw(self, container_id: str) -> None:
        self.generation += 1
        self._links.pop(container_id, None)
        names, endpoints = self._endpoints.pop(container_id, ((), ()))
        for endpoint in endpoints:
            table = self._by_network.get(endpoint.network, {})
            addresses = {endpoint.ipv4_address, endpoint.ipv6_address}
            for name in {n.lower() for n in (*names, *endpoint.aliases)}:
                rest = [address for address in table.get(name, ()) if address not in addresses]
                if rest:
                    table[name] = rest
                else:
                    table.pop(name, None)
            for address in addresses:
                self._reverse.get(endpoint.network, {}).pop(address, None)

    def retire(self, container_id: str) -> None:
        """The container is being stopped: its names now resolve only to other containers that have them. The container
        can still resolve names."""
        self.generation += 1
        names, endpoints = self._endpoints.get(container_id, ((), ()))
        for endpoint in endpoints:
            table = self._by_network.get(endpoint.network, {})
            addresses = {endpoint.ipv4_address, endpoint.ipv6_address}
            for name in {n.lower() for n in (*names, *endpoint.aliases)}:
                if rest := [address for address in table.get(name, ()) if address not in addresses]:
                    table[name] = rest

    def lookup(self, client: str, name: str) -> list[str] | None:
        """Addresses of `name` for the container `client`, in random order (round robin for scaled services); None when
        no container that it can reach has this name. They come from the first of its networks that has the name, as
        with Docker; `name.network` searches one network only. Containers of other groups are searched if none of the
        asker's group has the name, on any network."""
        found = self.own(client, name) or (self._found(client, name, self._theirs) if self._others else [])
        if len(found) > 1:
            import random

            random.shuffle(found)
        return found or None

    def on(self, network: str, name: str) -> list[str]:
        """The addresses of our containers with the name `name` (in lower case) on the network."""
        return self._by_network.get(network, {}).get(name, [])

    def own(self, client: str, name: str) -> list[str]:
        """The part of `lookup` that concerns our containers; constant until the generation changes."""
        return self._found(client, name, self.on)

    def _found(self, client: str, name: str, on: Callable[[str, str], list[str]]) -> list[str]:
        found: dict[str, None] = {}
        for query_name in (name, *self._links.get(client, {}).get(name, ())):
            for network in self.networks(client):
                bare = query_name.removesuffix(f".{network.lower()}")
                if addresses := on(network, query_name) or (on(network, bare) if bare != query_name else []):
                    found |= dict.fromkeys(addresses)
                    break
        return list(found)

    def _theirs(self, network: str, name: str) -> list[str]:
        return self._others.addresses(network, name) if self._others else []

    def reverse(self, client: str, address: str) -> str | None:
        for network in self.networks(client):
            if name := self._reverse.get(network, {}).get(address):
                return name
            if self._others and (name := self._others.name(network, address)):
                return name
        return None

    def reaches(self, client: str, server: str) -> bool:
        """Whether the container may use this resolver: it has external access, or they share a network."""
        endpoints = self._endpoints.get(client, ((), ()))[1]
        if any(one.ipv4_gateway or one.ipv6_gateway for one in endpoints):
            return True
        address = ipaddress.ip_address(server)
        return any(
            address in ipaddress.ip_network(f"{own}/{prefix}", strict=False)
            for one in endpoints
            for own, prefix in ((one.ipv4_address, one.ipv4_prefix), (one.ipv6_address, one.ipv6_prefix))
            if own
        )

    def networks(self, client: str) -> list[str]:
        return [endpoint.network for endpoint in self._endpoints.get(client, ((), ()))[1]]
