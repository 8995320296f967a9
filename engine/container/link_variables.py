"""The environment variables of links on the default bridge (docker run --link), by which older images find their neighbours.

For a link with the alias `db` to a container that exposes 5432/tcp: DB_NAME, DB_PORT, DB_PORT_5432_TCP and its _ADDR, _PORT and
_PROTO, and DB_ENV_<name> for each variable of that container. The container's own variables take precedence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_LEFT_OUT = ("HOME", "PATH")
"""Variables of the other container that are not included."""


def variables(
    name: str, alias: str, address: str, ports: Iterable[tuple[int, str]], environment: Mapping[str, str]
) -> dict[str, str]:
    """The variables that the container `name` gets for its link `alias`, to a container at `address` that exposes
    `ports` (number and protocol) and has `environment`."""
    prefix = alias.replace("-", "_").upper()
    found: dict[str, str] = {}
    for number, protocol in sorted(ports, key=lambda port: (port[1], port[0])):
        url, key = f"{protocol}://{address}:{number}", f"{prefix}_PORT_{number}_{protocol.upper()}"
        found.setdefault(f"{prefix}_PORT", url)
        found |= {key: url, f"{key}_ADDR": address, f"{key}_PORT": str(number), f"{key}_PROTO": protocol}
    found[f"{prefix}_NAME"] = f"/{name}/{alias}"
    found |= {f"{prefix}_ENV_{key}": value for key, value in environment.items() if key not in _LEFT_OUT}
    return found
