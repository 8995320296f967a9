"""Settings for registries, in registries.toml (docs/registries.md).

/etc/composer/registries.toml, then $XDG_CONFIG_HOME/composer/registries.toml (~/.config); COMPOSER_REGISTRIES names
another file instead of both

[registry."docker.io"]
mirrors = ["https://mirror.example.com", "http://10.0.0.1:5000/hub"]
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from engine.bounded_read import MIB, read_bytes
from engine.errors import InvalidSpec
from engine.paths import settings_files

Seconds = Annotated[float, Meta(gt=0, le=86400)]
Level = Annotated[int, Meta(ge=0, le=22)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one registry. `mirrors` are asked first, in order, for pulls; `location` is where it really is, both as
    [http://|https://]host[:port][/prefix]. `insecure`: any certificate, or none, will do. `ca`: a PEM file. Timeouts in
    seconds. `compression` of new layers, gzip or zstd, and its level, 0 for the default.
    """

    mirrors: tuple[str, ...] = ()
    location: str = ""
    plain_http: bool = False
    insecure: bool = False
    ca: str = ""
    connect_timeout: Seconds = 15.0
    read_timeout: Seconds = 60.0
    compression: Literal["", "gzip", "zstd"] = ""
    compression_level: Level = 0


_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


class _File(Struct, forbid_unknown_fields=True):
    registry: dict[str, Settings] = {}


def of(registry: str, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of a registry; the user's entry replaces the machine's. Raises InvalidSpec for an invalid file."""
    found = Settings()
    for path in _paths(environ):
        try:
            text = read_bytes(path, MIB, "a file of registries").decode()
            import tomllib  # loads regular expressions, for a file that most machines do not have

            data = tomllib.loads(text)
            table = msgspec.convert(data, _File).registry
        except FileNotFoundError:
            if path == environ.get("COMPOSER_REGISTRIES"):
                raise InvalidSpec(f"COMPOSER_REGISTRIES names {path}, which does not exist") from None
            continue
        except OSError as error:
            raise InvalidSpec(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, msgspec.ValidationError) as error:
            raise InvalidSpec(f"{path}: {error}") from error
        found = table.get(registry, found)
        for place in (*found.mirrors, *([found.location] if found.location else [])):
            endpoint(place, path)
    return found


def _paths(environ: Mapping[str, str]) -> tuple[str, ...]:
    named = environ.get("COMPOSER_REGISTRIES")
    return (named,) if named else settings_files("registries.toml", environ)


class Endpoint(Struct, frozen=True):
    """Where requests go: `host` with a port, a path `prefix` before the repository, `scheme` or "" to find out."""

    host: str
    prefix: str = ""
    scheme: str = ""


def endpoint(text: str, file: str = "registries.toml") -> Endpoint:
    """Of a mirror or location in `file`. Raises InvalidSpec."""
    scheme, separator, rest = text.rpartition("://")
    host, _, prefix = rest.partition("/")
    if (separator and scheme not in ("http", "https")) or not host or not _HOST.fullmatch(host):
        raise InvalidSpec(f"{file}: {text!r} is not of the form [https://]host[:port][/prefix]")
    return Endpoint(host, prefix.strip("/"), scheme)
