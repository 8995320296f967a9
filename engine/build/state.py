"""An image under construction: the state of a stage, and its conversion into a configuration blob."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
from msgspec import Struct, field

from engine.build.history import COMMENT
from engine.image import config as image_config
from engine.image.config import environment
from engine.image.images import ImageStore
from engine.image.platform import Platform
from engine.spec.image import ImageConfig, ImageRecord
from engine.vocabulary import DEFAULT_PATH


class State(Struct, kw_only=True):
    """`chain` are the layers' chain ids, lowest first; `values` what `$name` means, build arguments and environment;
    `declared` the build arguments, with the values that ARG gave; `command_set` says that this stage has a CMD;
    `created` seconds since the epoch, 0 before the first layer; `epoch` the time that the user set."""

    config: ImageConfig
    platform: Platform
    chain: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    declared: list[tuple[str, str | None]] = field(default_factory=list)
    history: list[image_config.History] = field(default_factory=list)
    created: float = 0.0
    author: str = ""
    command_set: bool = False
    epoch: int | None = None

    def __post_init__(self) -> None:
        names = environment(self.config.environment)
        if "PATH" not in names:
            self.config = msgspec.structs.replace(
                self.config, environment=(*self.config.environment, f"PATH={DEFAULT_PATH}")
            )
        self.values.update(environment(self.config.environment))

    @property
    def top(self) -> str:
        """The identity of the whole file system."""
        return self.chain[-1] if self.chain else ""

    def copy(self) -> State:
        """The state for a stage that continues from here; everything that only its own instructions determine is
        reset."""
        return State(
            config=self.config,
            platform=self.platform,
            chain=list(self.chain),
            values=dict(self.values),
            declared=list(self.declared),
            history=list(self.history),
            created=self.created,
            author=self.author,
            epoch=self.epoch,
        )

    def note(self, text: str, *, layer: bool = False, created: float = 0.0) -> None:
        """Add a line of history. A step without a layer has the time of the layer below, because the same build must produce
        the same image."""
        self.created = max(self.created, created) if self.epoch is None else float(self.epoch)
        when = image_config.rfc3339(self.created) if self.created or self.epoch is not None else None
        self.history.append(image_config.History(created=when, created_by=text, comment=COMMENT, empty_layer=not layer))

    def file(self, diff_ids: Sequence[str], labels: dict[str, str], cache: bytes = b"") -> bytes:
        """The configuration blob; with the records of an inline `cache`."""
        config = image_config.raw(self.config)
        if labels:
            config.labels = dict(sorted({**self.config.labels, **labels}.items()))
        now = time.time() if self.epoch is None else self.epoch
        return image_config.encode(
            image_config.ImageFile(
                created=image_config.rfc3339(self.created if self.created and self.epoch is None else now),
                author=self.author,
                architecture=self.platform.architecture,
                variant=self.platform.variant,
                os=self.platform.os,
                config=config,
                rootfs=image_config.RootFS(diff_ids=list(diff_ids)),
                history=self.history,
                cache=cache,
            )
        )


def scratch(platform: Platform, epoch: int | None = None) -> State:
    """FROM scratch: no layers."""
    return State(config=ImageConfig(working_dir="/"), platform=platform, epoch=epoch)


def from_image(images: ImageStore, record: ImageRecord, epoch: int | None = None) -> State:
    """FROM an image in the store."""
    file = images.file(record.id)
    return State(
        config=record.config,
        platform=Platform(record.os, record.architecture, record.variant),
        chain=images.chain(record.id),
        history=list(file.history or ()),
        created=record.created_at,
        author=file.author,
        epoch=epoch,
    )
