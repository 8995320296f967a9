"""The image configuration blob (OCI image specification, config.md) and its conversion to and from `ImageConfig`."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct, field

from engine.errors import ImageError
from engine.spec.container import Healthcheck
from engine.spec.image import ImageConfig
from engine.vocabulary import DIGEST

_NANO = 1_000_000_000


class RawHealthcheck(Struct, rename="pascal", omit_defaults=True):
    """Durations are nanoseconds, 0 for inherited (Docker image specification 1.2)."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class RawConfig(Struct, rename="pascal", omit_defaults=True):
    user: str = ""
    exposed_ports: dict[str, dict[str, object]] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, dict[str, object]] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    healthcheck: RawHealthcheck | None = None
    on_build: list[str] | None = None
    shell: list[str] | None = None


class RootFS(Struct, kw_only=True):
    type: str = "layers"
    diff_ids: list[str] | None = None


class History(Struct, omit_defaults=True):
    """One line of `docker history`; `empty_layer` when the step created no layer."""

    created: str | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageFile(Struct, kw_only=True, omit_defaults=True):
    """The whole blob. `created` is RFC 3339; `cache` BuildKit's records of the build, JSON
    (engine.build.cache_exchange); `parent` the image of the container from which this one was committed (Docker image
    specification 1.2)."""

    parent: str = ""
    created: str | None = None
    author: str = ""
    architecture: str
    variant: str = ""
    os: str
    config: RawConfig | None = None
    rootfs: RootFS
    history: list[History] | None = field(default=None)
    cache: bytes = field(default=b"", name="moby.buildkit.cache.v0")


_decode = msgspec.json.Decoder(ImageFile).decode


def decode(blob: bytes, subject: str) -> ImageFile:
    """Raises ImageError when `blob` is not an image configuration."""
    try:
        found = _decode(blob)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ImageError(f"{subject}: not an image configuration: {error}") from error
    if found.rootfs.type != "layers":
        raise ImageError(f"{subject}: unknown rootfs type {found.rootfs.type!r}")
    for diff_id in found.rootfs.diff_ids or ():
        if not re.fullmatch(DIGEST, diff_id):
            raise ImageError(f"{subject}: {diff_id[:80]!r} is not a diff_id")
    return found


def encode(image: ImageFile) -> bytes:
    """Canonical bytes: the same structure always produces the same image id."""
    return msgspec.json.encode(image, order="sorted")


def execution(image: ImageFile) -> ImageConfig:
    """The part that the engine needs for running a container."""
    raw = image.config or RawConfig()
    return ImageConfig(
        user=raw.user,
        environment=tuple(raw.env or ()),
        entrypoint=tuple(raw.entrypoint or ()),
        command=tuple(raw.cmd or ()),
        working_dir=raw.working_dir,
        exposed_ports=tuple(sorted(raw.exposed_ports or ())),
        volumes=tuple(sorted(raw.volumes or ())),
        labels=raw.labels or {},
        stop_signal=raw.stop_signal,
        shell=tuple(raw.shell or ()),
        on_build=tuple(raw.on_build or ()),
        healthcheck=_healthcheck(raw.healthcheck),
    )


def _healthcheck(raw: RawHealthcheck | None) -> Healthcheck | None:
    if raw is None:
        return None
    return Healthcheck(
        test=tuple(raw.test) if raw.test else None,
        interval=raw.interval / _NANO or None,
        timeout=raw.timeout / _NANO or None,
        start_period=raw.start_period / _NANO or None,
        start_interval=raw.start_interval / _NANO or None,
        retries=raw.retries or None,
    )


def raw(config: ImageConfig) -> RawConfig:
    """The inverse of `execution`."""
    return RawConfig(
        user=config.user,
        exposed_ports=_keys(config.exposed_ports),
        env=list(config.environment) or None,
        entrypoint=list(config.entrypoint) or None,
        cmd=list(config.command) or None,
        volumes=_keys(config.volumes),
        working_dir=config.working_dir,
        labels=dict(sorted(config.labels.items())) or None,
        stop_signal=config.stop_signal,
        on_build=list(config.on_build) or None,
        shell=list(config.shell) or None,
        healthcheck=_raw_healthcheck(config.healthcheck),
    )


def _raw_healthcheck(health: Healthcheck | None) -> RawHealthcheck | None:
    if health is None:
        return None
    return RawHealthcheck(
        test=list(health.test) if health.test else None,
        interval=_nano(health.interval),
        timeout=_nano(health.timeout),
        start_period=_nano(health.start_period),
        start_interval=_nano(health.start_interval),
        retries=health.retries or 0,
    )


def _keys(names: Sequence[str]) -> dict[str, dict[str, object]] | None:
    return {name: {} for name in sorted(names)} or None


def _nano(seconds: float | None) -> int:
    return round((seconds or 0) * _NANO)


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """The ChainID of each layer, which identifies it together with all layers below it (config.md, Layer ChainID)."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(next_chain_id(chain[-1] if chain else "", diff_id))
    return chain


def next_chain_id(parent: str, diff_id: str) -> str:
    """The ChainID of a layer with `diff_id` on top of `parent` ("" for none)."""
    if not parent:
        return diff_id
    return "sha256:" + hashlib.sha256(f"{parent} {diff_id}".encode()).hexdigest()


def timestamp(text: str | None) -> float:
    """RFC 3339 to seconds since the epoch; 0 when absent or unreadable (it is only shown)."""
    if not text:
        return 0.0
    try:
        # fromisoformat takes at most microseconds; registries send nanoseconds.
        return datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch to RFC 3339 in UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat().replace("+00:00", "Z")


def environment(entries: Sequence[str]) -> Mapping[str, str]:
    """KEY=value lines as a mapping; the last line for a name counts."""
    return dict(entry.partition("=")[::2] for entry in entries)
