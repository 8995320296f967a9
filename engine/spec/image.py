"""Records of images, and specifications of builds."""

from msgspec import Raw, Struct
from msgspec.json import Decoder

from engine.spec.container import Healthcheck, Resources, Ulimit


class ImageConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The execution part of an image's configuration (OCI image specification, config.md)."""

    user: str = ""
    environment: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    working_dir: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    stop_signal: str = ""
    shell: tuple[str, ...] = ()
    healthcheck: Healthcheck | None = None
    on_build: tuple[str, ...] = ()


class ImageRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An image in the store. `layers` are folder names below <state>/layers, lowest first; sizes in bytes. Times are
    seconds since the epoch: `created_at` says when it was built, `tagged_at` when it was last pulled, built or tagged
    here, 0 if unknown."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    config: ImageConfig = ImageConfig()
    layers: tuple[str, ...] = ()
    architecture: str = ""
    os: str = "linux"
    variant: str = ""
    size: int = 0
    created_at: float = 0.0
    tagged_at: float = 0.0
    others: dict[str, str] = {}
    """Only in the record that a build returns: the images for other platforms (platform → id)."""


def for_platform(name: str, platform: str) -> str:
    """The image `name` (a reference) for a platform, "" for any, as one text: `redis:7 linux/arm64`. Functions that
    find images by name accept this form."""
    return f"{name} {platform}" if platform and not name.startswith("sha256:") else name


class SavedImage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An image to be written into an archive under names of its own: `tags` are references, `variants` the images for
    other platforms (platform → id)."""

    id: str
    tags: tuple[str, ...] = ()
    variants: dict[str, str] = {}


class ImageStep(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of an image's history (OCI image specification, config.md). `size` in bytes, 0 for a step without a layer;
    `created_at` in seconds since the epoch."""

    created_at: float = 0.0
    created_by: str = ""
    comment: str = ""
    size: int = 0


class ImageDetails(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Details that an image's record omits: `diff_ids` lowest first, `history` oldest first. `parent`: the image from
    whose container it was committed."""

    author: str = ""
    parent: str = ""
    comment: str = ""
    diff_ids: tuple[str, ...] = ()
    history: tuple[ImageStep, ...] = ()
    annotations: dict[str, str] = {}
    attestations: tuple[tuple[str, Raw], ...] = ()
    """Predicate type and predicate (JSON) of each."""


class CacheEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step that the build cache remembers. `size`: bytes of the layers that nothing else refers to; `shared`: an
    image has some of its layers; `in_use`: all of them. Times are seconds since the epoch."""

    key: str
    step: str = ""
    size: int = 0
    shared: bool = False
    in_use: bool = False
    created_at: float = 0.0
    used_at: float = 0.0


class StoreUsage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Bytes on disk: of all layers of images, each counted once, and for each image of all its layers and of those that
    others share. A layer has the blob that is kept for pushes, too."""

    layers: int = 0
    images: dict[str, int] = {}
    shared: dict[str, int] = {}
    cache: tuple[CacheEntry, ...] = ()


class Freed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Removed objects, or those that would be removed: ids of images, keys of the build cache, and the freed bytes."""

    images: tuple[str, ...] = ()
    cache: tuple[str, ...] = ()
    size: int = 0


class BuildSecret(Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    file: str = ""
    environment: str = ""


class RemoteImage(Struct, frozen=True, kw_only=True):
    """The description of a name in a registry. `platforms`: (operating system, architecture, variant) each."""

    media_type: str
    digest: str
    size: int
    platforms: tuple[tuple[str, str, str], ...]


class BuildWarning(Struct, frozen=True, kw_only=True):
    """A rule's warning about the lines `start` to `end` of a Dockerfile; `text` is the full message with these
    lines."""

    rule: str
    url: str
    detail: str
    start: int
    end: int
    text: str


class BuildSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One image to build (compose-spec, build.md). `dockerfile` is relative to `context`, or a URL; `dockerfile_inline`
    takes precedence."""

    context: str
    archive: str = ""
    """A file in place of `context`: an archive, or only the Dockerfile."""
    dockerfile: str = "Dockerfile"
    dockerfile_inline: str | None = None
    tags: tuple[str, ...] = ()
    args: dict[str, str | None] = {}
    target: str = ""
    labels: dict[str, str] = {}
    platforms: tuple[str, ...] = ()
    additional_contexts: dict[str, str] = {}
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    """Stages built without the cache."""
    pull: bool = False
    network: str = ""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    isolation: str = ""
    privileged: bool = False
    entitlements: tuple[str, ...] = ()
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    resources: Resources = Resources()
    """Limits of each RUN step."""
    cgroup_parent: str = ""
    """The cgroup in which RUN steps have theirs, "" for our own."""
    annotations: tuple[tuple[str, str], ...] = ()
    """`[manifest|index|manifest-descriptor[[PLATFORM]],…:]KEY` and value, as in BuildKit."""
    provenance: str = ""
    """Options of the provenance attestation, such as `mode=max`; "" for none."""
    sbom: str = ""
    """Options of the SBOM attestation, such as `generator=IMAGE`; "" for none."""
    secrets: tuple[BuildSecret, ...] = ()
    ssh: tuple[str, ...] = ()
    environ: dict[str, str] = {}
    ref: str = ""
    """The reference under which the build is recorded; "" for a new one."""
    shown_as: dict[str, str] = {}
    """Paths of temporary copies → the user's names for them, for the record."""
    pins: dict[str, str] | None = None
    """The sources that a locked build may fetch; None for no restriction. Full image references → with a digest, or an
    image's id; URLs → sha256:…; REMOTE[#REF] of Git repositories → commit."""


decode_image = Decoder(ImageRecord).decode
