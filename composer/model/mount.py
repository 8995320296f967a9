"""services.*.volumes"""

from __future__ import annotations

from composer.model.element import Element, Pairs
from composer.model.quantities import Bytes, Mode


class BindOptions(Element):
    propagation: str = ""
    create_host_path: bool = True
    recursive: str = ""
    selinux: str = ""


class VolumeOptions(Element):
    labels: Pairs = {}
    nocopy: bool = False
    subpath: str = ""


class TmpfsOptions(Element):
    size: Bytes = 0
    mode: Mode | None = None


class ImageOptions(Element):
    subpath: str = ""


class Mount(Element):
    """`type`: bind (an absolute `source`), volume (a key of the top-level volumes, "" is anonymous), tmpfs, image,
    npipe, cluster."""

    type: str
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind: BindOptions | None = None
    volume: VolumeOptions | None = None
    tmpfs: TmpfsOptions | None = None
    image: ImageOptions | None = None
