"""`composer system df -v`: each image, container, volume and step of the build cache, laid out as docker's."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from composer.cli.render.listing import short
from composer.cli.render.table import MINIMUM, shorten, table
from composer.view.units import human_duration, human_size

IMAGES = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS")
CONTAINERS = ("CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES")
VOLUMES = ("VOLUME NAME", "LINKS", "SIZE")
CACHE = ("CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED")


def details(taken: dict[str, Any]) -> str:
    cache = human_size(sum(one["Size"] for one in taken["BuildCache"]), 4)
    return "\n".join(
        (
            _section("Images space usage:", IMAGES, map(_image, taken["Images"])),
            _section("Containers space usage:", CONTAINERS, map(_container, taken["Containers"])),
            _section("Local Volumes space usage:", VOLUMES, map(_volume, taken["Volumes"])),
            _section(f"Build cache usage: {cache}", CACHE, map(_cache, taken["BuildCache"])),
        )
    )


def _section(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return f"{title}\n\n{table([header, *rows], minimum=MINIMUM)}"


def _ago(seconds: float) -> str:
    return f"{human_duration(time.time() - seconds)} ago" if seconds else "N/A"


def _image(one: dict[str, Any]) -> Sequence[str]:
    repository, _, tag = next(iter(one["RepoTags"] or ()), "<none>:<none>").rpartition(":")
    sizes = (one["Size"], one["SharedSize"], one["Size"] - one["SharedSize"])
    return (repository, tag, short(one["Id"]), _ago(one["Created"]), *(human_size(n, 4) for n in sizes),
            str(one["Containers"]))  # fmt: skip


def _container(one: dict[str, Any]) -> Sequence[str]:
    volumes = sum(mount["Type"] == "volume" for mount in one["Mounts"])
    return (short(one["Id"]), one["Image"], f'"{shorten(one["Command"], 20)}"', str(volumes), human_size(one["SizeRw"]),
            _ago(one["Created"]), one["Status"], one["Names"][0].removeprefix("/"))  # fmt: skip


def _volume(one: dict[str, Any]) -> Sequence[str]:
    return one["Name"], str(one["UsageData"]["RefCount"]), human_size(one["UsageData"]["Size"], 4)


def _cache(one: dict[str, Any]) -> Sequence[str]:
    return (one["ID"][:12], one["Type"], human_size(one["Size"], 4), one["CreatedAt"][:19], one["LastUsedAt"][:19], "1",
            str(one["Shared"]).lower())  # fmt: skip
