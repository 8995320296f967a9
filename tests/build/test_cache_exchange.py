"""cache_to on one machine, cache_from on another: the same image, without executing anything."""

import io
import json
import tarfile

import pytest

from engine import registry
from engine.build.cache_exchange import document
from engine.build.cache_exchange.entry import parse
from engine.errors import BuildFailed, RegistryError
from engine.image.images import ImageStore
from engine.image.importing import import_rootfs
from engine.paths import Roots
from engine.store import Store
from tests.build.conftest import Builder
from tests.registry.conftest import start_registry  # noqa: F401

TEXT = """
FROM base AS one
COPY a /a
COPY b /b
FROM base
COPY --from=one /a /from-one
COPY c /c
LABEL made=here
"""
FILES = {"a": "a", "b": "b", "c": "c"}


def with_base(images):
    """The same base image on each machine."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("etc"))
    out.seek(0)
    import_rootfs(images, out, tags=["base"], created="2024-01-01T00:00:00Z")


@pytest.fixture
def here(images, context):
    with_base(images)
    return Builder(images, context)


@pytest.fixture
def elsewhere(tmp_path, context):
    """The builder of another machine."""
    store = Store(Roots(str(tmp_path / "other"), str(tmp_path / "run")))
    images = ImageStore(store)
    with_base(images)
    yield Builder(images, context)
    store.close()


@pytest.fixture
def host(start_registry):  # noqa: F811
    return start_registry()


@pytest.mark.parametrize("kind", ["local", "registry"])
def test_cache_of_all_steps(here, elsewhere, tmp_path, request, kind):
    if kind == "local":
        to, source = f"type=local,dest={tmp_path}/cache,mode=max", f"type=local,src={tmp_path}/cache"
    else:
        source = f"{request.getfixturevalue('host')}/team/app:cache"
        to = f"type=registry,ref={source},mode=max"
    first = here(TEXT, files=FILES, cache_to=(to,))
    second = elsewhere(TEXT, cache_from=(source,))
    assert elsewhere.cached == 4
    assert second.id == first.id
    assert elsewhere.tree(second) == here.tree(first)
    # Now they belong to its own cache, which it can export again.
    elsewhere(TEXT.replace("COPY c /c", "COPY c /d"))
    assert elsewhere.cached == 3


def test_cache_of_the_images_steps(here, elsewhere, tmp_path):
    here(TEXT, files=FILES, cache_to=(f"type=local,dest={tmp_path}/cache",))
    elsewhere(TEXT, cache_from=(f"type=local,src={tmp_path}/cache",))
    assert elsewhere.cached == 2


def test_inside_the_image(here, elsewhere, host):
    name = f"{host}/team/app:1"
    plain = here(TEXT, files=FILES)
    first = here(TEXT, tags=(name,), cache_to=("type=inline",))
    assert first.id != plain.id
    records = json.loads(here.images.file(first.id).cache)
    assert [one["layers"][0]["layer"] for one in records] in ([1, 2], [2, 1])
    registry.push(name, images=here.images)
    second = elsewhere(TEXT, tags=(name,), cache_from=(name,), cache_to=("type=inline",))
    assert elsewhere.cached == 2
    assert elsewhere.tree(second) == here.tree(first)


def test_the_form_is_buildkits(here, tmp_path):
    here(TEXT, files=FILES, cache_to=(f"type=local,dest={tmp_path}/cache,mode=max,tag=main",))
    folder = tmp_path / "cache"

    def blob(digest):
        return (folder / "blobs" / digest.replace(":", "/")).read_bytes()

    assert json.loads((folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (one,) = json.loads((folder / "index.json").read_text())["manifests"]
    assert one["annotations"] == {"org.opencontainers.image.ref.name": "main"}
    found = json.loads(blob(one["digest"]))
    assert found["config"]["mediaType"] == "application/vnd.buildkit.cacheconfig.v0"
    config = json.loads(blob(found["config"]["digest"]))
    assert {layer["digest"] for layer in found["layers"]} == {layer["blob"] for layer in config["layers"]}
    for number, layer in enumerate(config["layers"]):
        assert layer.pop("parent", 0) < number
        assert layer["annotations"].keys() == {"mediaType", "diffID", "size"}
    assert len(config["records"]) == 4
    for record in config["records"]:
        assert record["digest"].startswith("sha256:")
        assert 0 <= record["layers"][0]["layer"] < len(config["layers"])
    # Another tag does not replace it.
    here(TEXT, cache_to=(f"type=local,dest={folder}",))
    assert len(json.loads((folder / "index.json").read_text())["manifests"]) == 2


def test_a_cache_of_buildkit_is_read():
    """A cache in BuildKit's format: its keys differ from ours, so it is useless, but not an error."""
    layers = [
        document.manifest.Descriptor(
            media_type=document.manifest.OCI_LAYER + "+gzip", digest="sha256:" + "1" * 64, size=3
        )
    ]
    notes = {"mediaType": "x", "diffID": "sha256:" + "2" * 64, "size": 3, "createdAt": "2024-01-01T00:00:00Z"}
    config = {
        "layers": [{"blob": layers[0].digest, "parent": -1, "annotations": notes}],
        "records": [
            {"digest": "sha256:" + "a" * 64},
            {
                "digest": "sha256:" + "b" * 64,
                "inputs": [[{"link": 0}], [{"selector": "sha256:" + "c" * 64, "link": 0}]],
                "layers": [{"layer": 0, "createdAt": "2026-11-28T11:36:46.687212073Z"}],
                "chains": [{"layers": [0], "createdAt": "2026-11-28T11:36:46.687212073Z"}],
            },
        ],
    }
    found = document.read(json.dumps(config).encode(), layers, "x")
    assert list(found) == ["sha256:" + "b" * 64]


@pytest.mark.parametrize("wrong", ["missing", "corrupt", "garbage", "circle"])
def test_damaged_cache_is_ignored(here, elsewhere, tmp_path, wrong):
    here(TEXT, files=FILES, cache_to=(f"type=local,dest={tmp_path}/cache,mode=max",))
    index = json.loads((tmp_path / "cache/index.json").read_text())
    path = tmp_path / "cache/blobs" / index["manifests"][0]["digest"].replace(":", "/")
    found = json.loads(path.read_text())
    if wrong == "missing":
        (tmp_path / "cache/index.json").unlink()
    elif wrong == "corrupt":
        for layer in found["layers"]:
            (tmp_path / "cache/blobs" / layer["digest"].replace(":", "/")).write_bytes(b"x" * layer["size"])
    elif wrong == "garbage":
        path.write_text("{}")
    else:
        config = json.loads((tmp_path / "cache/blobs" / found["config"]["digest"].replace(":", "/")).read_text())
        for layer in config["layers"]:
            layer.pop("parent", 0)  # 0 is omitted
        assert document.read(json.dumps(config).encode(), [], "x") == {}
    record = elsewhere(TEXT, cache_from=(f"type=local,src={tmp_path}/cache",))
    assert (elsewhere.cached == 0) is (wrong != "circle")
    assert elsewhere.tree(record)["c"] == "c"


def test_a_locked_build_uses_no_cache_of_others(here, elsewhere, tmp_path):
    """The owner of a cache decides what its layers contain."""
    here(TEXT, files=FILES, cache_to=(f"type=local,dest={tmp_path}/cache,mode=max",))
    pins = {"docker.io/library/base:latest": elsewhere.images.need("base").id}
    elsewhere(TEXT, files=FILES, cache_from=(f"type=local,src={tmp_path}/cache",), pins=pins)
    assert elsewhere.cached == 0
    assert any("a locked build does not use cache_from" in line for line in elsewhere.lines)


def test_unwritable_destination(here):
    with pytest.raises(RegistryError):
        here("FROM base\nCOPY a /a\n", files=FILES, cache_to=("localhost:1/team/app:cache",))
    here("FROM base\nCOPY a /a\n", cache_to=("type=registry,ref=localhost:1/team/app:cache,ignore-error=true",))
    assert any("WARN" in line and "localhost:1" in line for line in here.lines)


@pytest.mark.parametrize(
    ("text", "export", "problem"),
    [
        ("type=gha", True, "type 'gha' is not supported: registry, local, inline"),
        ("type=inline", False, "type 'inline' is not supported: registry, local"),
        ("ref=x", False, "type 'is missing' is not supported"),
        ("type=registry", True, "type=registry needs ref"),
        ("type=local,dst=/x", True, "the option 'dst' is not supported for type=local"),
        ("type=registry,ref=x,mode=most", True, "mode must be min or max"),
        ("type=registry,ref=x,compression=lz4", True, "compression=lz4 is not supported"),
        ("type=registry,ref=x,image-manifest=false", True, "image-manifest=false is not supported"),
        ("type=registry,x", True, "invalid value 'x': expected KEY=VALUE"),
    ],
)
def test_entries_that_are_refused(text, export, problem):
    with pytest.raises(BuildFailed) as caught:
        parse(text, export=export)
    assert problem in str(caught.value)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_cache_holds_all_platforms(here, elsewhere, tmp_path, mode):
    text = "FROM scratch\nARG TARGETARCH\nCOPY same /same\nCOPY $TARGETARCH /name\n"
    options = {"platforms": ("linux/amd64", "linux/arm64"), "tags": ("two",)}
    files = {"same": "same", "amd64": "amd64", "arm64": "arm64"}
    first = here(text, files=files, cache_to=(f"type=local,dest={tmp_path}/cache,mode={mode}",), **options)
    second = elsewhere(text, cache_from=(f"type=local,src={tmp_path}/cache",), **options)
    assert elsewhere.cached == 4
    assert (second.id, second.others) == (first.id, first.others)
