import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EngineError, ImageError, NotFound, Unsupported
from engine.image import manifest
from engine.image.platform import Platform

DIGEST = "sha256:" + "0" * 64


NAMES = ("os", "architecture", "variant")


def descriptor(**more):
    return {"mediaType": manifest.OCI_MANIFEST, "digest": DIGEST, "size": 1, **more}


def index(*platforms):
    entries = [
        descriptor(digest=f"sha256:{number:064x}", platform=dict(zip(NAMES, one.split("/"), strict=False)))
        for number, one in enumerate(platforms)
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": entries}).encode()


def test_a_manifest():
    body = {"schemaVersion": 2, "config": descriptor(), "layers": [descriptor(mediaType=manifest.OCI_LAYER + "+gzip")]}
    found = manifest.parse(json.dumps(body).encode(), manifest.OCI_MANIFEST, "x")
    assert isinstance(found, manifest.Manifest)
    assert manifest.compression(found.layers[0]) == "gzip"


@pytest.mark.parametrize(
    ("wanted", "position"),
    [("linux/amd64", 0), ("linux/arm/v7", 2), ("linux/arm/v6", 1), ("linux/arm64/v8", 3)],
)
def test_selection_takes_the_best_that_runs(wanted, position):
    found = manifest.parse(
        index("linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "unknown/unknown"),
        manifest.OCI_INDEX,
        "x",
    )
    assert int(manifest.select(found, Platform(*wanted.split("/")), "x").digest[7:], 16) == position


def test_a_missing_platform_names_those_there_are():
    found = manifest.parse(index("linux/arm64/v8", "windows/amd64"), manifest.OCI_INDEX, "app:1")
    with pytest.raises(NotFound, match=r"app:1 for platform linux/amd64(.|\n)*linux/arm64/v8, windows/amd64"):
        manifest.select(found, Platform("linux", "amd64"), "app:1")


@pytest.mark.parametrize(
    ("body", "media_type", "error"),
    [
        (b"{}", "", ImageError),
        (b"[", "", ImageError),
        (b"\xff", "", ImageError),
        (b'{"schemaVersion": 1}', "", Unsupported),
        (b'{"schemaVersion": 2}', manifest.DOCKER_SCHEMA_1 + "+prettyjws", Unsupported),
        (b'{"schemaVersion": 2, "manifests": [], "layers": []}', "", ImageError),
        (b'{"schemaVersion": 2, "manifests": []}', manifest.OCI_MANIFEST, ImageError),
        (b'{"schemaVersion": 2, "config": {"digest": "sha256:x", "size": 1}, "layers": []}', "", Unsupported),
        (
            b'{"schemaVersion": 2, "config": {"digest": "sha512:' + b"0" * 128 + b'", "size": 1}, "layers": []}',
            "",
            Unsupported,
        ),
        (
            b'{"schemaVersion": 2, "config": {"digest": "' + DIGEST.encode() + b'", "size": -1}, "layers": []}',
            "",
            ImageError,
        ),
        (b" " * (manifest.MANIFEST_LIMIT + 1), "", ImageError),
        (b"[" * 100_000, "", ImageError),
    ],
)
def test_non_manifests_are_refused(body, media_type, error):
    with pytest.raises(error):
        manifest.parse(body, media_type, "x")


def test_artifacts_are_refused():
    one = manifest.Descriptor(media_type="application/vnd.cncf.helm.chart.content.v1.tar+gzip", digest=DIGEST, size=1)
    with pytest.raises(Unsupported, match="artifact"):
        manifest.compression(one)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["schemaVersion", "manifests", "layers", "config", "digest", "size"]), inner
            )
        ),
    )
)
def test_any_json_is_parsed_or_refused(value):
    try:
        manifest.parse(json.dumps(value).encode(), "", "x")
    except EngineError:
        pass
