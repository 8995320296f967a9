"""Builds for several platforms, of which this machine runs one."""

import pytest

from engine import registry
from engine.errors import BuildFailed, NotFound, Unsupported
from engine.image import gc, platform
from tests.registry.conftest import start_registry  # noqa: F401

OTHER = "linux/arm64" if platform.host().architecture == "amd64" else "linux/amd64"
HERE = str(platform.host())
BOTH = (OTHER, HERE)
FILES = """
FROM scratch AS files
COPY same /same
FROM files
ARG TARGETARCH TARGETPLATFORM
LABEL platform=$TARGETPLATFORM
COPY $TARGETARCH /name
"""


@pytest.fixture
def two(builder):
    """Build FILES for both platforms."""
    files = {"same": "same", "amd64": "amd64", "arm64": "arm64"}
    return lambda tag="own/two", **spec: builder(FILES, files=files, tags=(tag,), platforms=BOTH, **spec)


def test_an_image_for_each(images, builder, two):
    record = two()
    other = images.get(f"own/two {OTHER}")
    assert record.tags == other.tags == ("docker.io/own/two:latest",)
    assert images.get("own/two").id == images.get(f"own/two {HERE}").id == record.id != other.id
    assert other.config.labels["platform"] == OTHER
    assert f"{other.os}/{other.architecture}" == OTHER
    assert builder.tree(other)["name"] == other.architecture
    assert images.get("own/two linux/s390x") is None
    assert f"[{OTHER} stage-1 2/2]" in "\n".join(builder.lines)
    again = two()
    assert again.id == record.id
    assert images.get(f"own/two {OTHER}").id == other.id


def test_a_foreign_base_without_run(images, builder, two):
    two("own/base")
    found = builder("FROM own/base\nCOPY more /more\n", files={"more": "more"}, tags=("own/more",), platforms=BOTH)
    assert builder.tree(found)["name"] == found.architecture
    other = images.get(f"own/more {OTHER}")
    assert builder.tree(other) == {**builder.tree(found), "name": other.architecture}
    one = builder(f"FROM --platform={OTHER} own/base AS one\nFROM own/base\nCOPY --from=one /name /other\n")
    assert builder.tree(one)["other"] == other.architecture
    with pytest.raises(Unsupported, match="emulation"):
        builder("FROM own/base\nRUN true\n", platforms=BOTH)


def test_a_failure_leaves_the_tags(images, builder, two):
    before = two()
    other = images.get(f"own/two {OTHER}").id
    with pytest.raises(BuildFailed):
        builder(
            "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH-only /\n",
            files={"amd64-only": ""},
            tags=("own/two",),
            platforms=BOTH,
        )
    assert images.get("own/two").id == before.id
    assert images.get(f"own/two {OTHER}").id == other


def test_base_without_the_requested_platform(builder, base):
    with pytest.raises((NotFound, Unsupported), match=OTHER):
        builder("FROM base\n", platforms=BOTH)


def test_names_and_removal(images, two):
    record = two()
    other = images.get(f"own/two {OTHER}")
    images.tag("own/two", "own/copy:1")
    assert images.get(f"own/copy:1 {OTHER}").id == other.id
    images.remove("own/two")
    assert images.get(f"own/copy:1 {OTHER}").id == other.id
    lines = images.remove("own/copy:1")
    assert lines == ["Untagged: own/copy:1", f"Deleted: {record.id}", f"Deleted: {other.id}"]
    assert images.all() == []


def test_a_newer_build_replaces_all_of_them(images, builder, two):
    two()
    builder("FROM scratch\nCOPY same /other\n", tags=("own/two",))
    assert images.get(f"own/two {OTHER}") is None
    gc.replaced(images)
    assert len(images.all()) == 1


def test_index_round_trip(images, two, start_registry, tmp_path):  # noqa: F811
    from engine.image.images import ImageStore
    from engine.paths import Roots
    from engine.store import Store

    name = f"{start_registry()}/own/two:1"
    record = two(name)
    other = images.get(f"{name} {OTHER}")
    digest = registry.push(name, images=images)
    store = Store(Roots(str(tmp_path / "o"), str(tmp_path / "r")))
    elsewhere = ImageStore(store)
    # In either order, the name means the image that runs here.
    assert registry.pull(name, images=elsewhere, platform=OTHER).id == other.id
    assert elsewhere.get(name).id == other.id
    assert registry.pull(name, images=elsewhere).id == record.id
    assert registry.pull(name, images=elsewhere, platform=OTHER).id == other.id
    assert elsewhere.get(name).id == record.id
    assert elsewhere.get(f"{name} {OTHER}").id == other.id
    pinned = name.rpartition(":")[0] + f"@{digest}"
    assert elsewhere.get(f"{pinned} {OTHER}").id == other.id
    assert elsewhere.get(f"{pinned} {HERE}").id == record.id
    elsewhere.remove(name, force=True)
    gc.collect(elsewhere)
    assert elsewhere.all() == [] and elsewhere.layers.names() == []
    store.close()
