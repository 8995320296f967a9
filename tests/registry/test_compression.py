"""Layers in zstd, and in formats built on zstd or gzip: pushed, pulled, and pushed again unchanged."""

import json

import msgspec
import pytest

from engine import registry
from engine.errors import ImageError, InvalidSpec
from engine.image import manifest
from engine.image.commit import commit
from engine.image.layer_blob import Compression
from engine.image.reference import parse
from engine.registry.client import Client


def described(name):
    body, media_type, _ = Client(parse(name)).manifest("1")
    return manifest.parse(body, media_type, name).layers


def test_compression_of_new_layers(start_registry, images, other_images, make):
    host = start_registry()
    name = f"{host}/team/app:1"
    pushed = make(images, name, a=b"x" * 100_000)
    registry.push(name, images=images, compression=Compression("zstd", 19))
    (layer,) = described(name)
    assert layer.media_type == "application/vnd.oci.image.layer.v1.tar+zstd"
    assert registry.pull(name, images=other_images).id == pushed.id
    # They are pushed again as they were pulled.
    other_images.tag(name, f"{host}/team/copy:1")
    registry.push(f"{host}/team/copy:1", images=other_images)
    assert described(f"{host}/team/copy:1") == [layer]


@pytest.mark.parametrize(("said", "kind"), [('compression = "zstd"', "zstd"), ("compression_level = 9", "gzip")])
def test_a_registry_has_its_compression(start_registry, images, make, monkeypatch, tmp_path, said, kind):
    host = start_registry()
    (tmp_path / "registries.toml").write_text(f'[registry."{host}"]\n{said}\n')
    monkeypatch.setenv("COMPOSER_REGISTRIES", str(tmp_path / "registries.toml"))
    name = f"{host}/team/app:1"
    make(images, name, a=b"x")
    registry.push(name, images=images)
    assert described(name)[0].media_type.endswith(f"+{kind}")


def test_invalid_compression(start_registry, images, make, monkeypatch, tmp_path):
    host = start_registry()
    name = f"{host}/team/app:1"
    make(images, name, a=b"x")
    with pytest.raises(ImageError, match="invalid zstd level 99"):
        registry.push(name, images=images, compression=Compression("zstd", 99))
    (tmp_path / "registries.toml").write_text(f'[registry."{host}"]\ncompression = "lz4"\n')
    monkeypatch.setenv("COMPOSER_REGISTRIES", str(tmp_path / "registries.toml"))
    with pytest.raises(InvalidSpec, match="lz4"):
        registry.push(name, images=images)


def chunked(tar):
    """A blob in the format zstd:chunked: frames for parts, and the table of contents in a skippable frame."""
    import zstandard

    half = len(tar) // 2
    frames = [zstandard.compress(tar[:half]), zstandard.compress(tar[half:])]
    table = zstandard.compress(json.dumps({"version": 1, "entries": []}).encode())
    skippable = bytes.fromhex("502a4d18") + len(table).to_bytes(4, "little") + table
    footer = b"\0" * 56 + b"GNUlInUx"
    return b"".join(frames) + skippable + bytes.fromhex("502a4d18") + len(footer).to_bytes(4, "little") + footer


def estargz(tar):
    """A blob in the format eStargz: several members, the last one empty."""
    import gzip

    half = len(tar) // 2
    return gzip.compress(tar[:half]) + gzip.compress(tar[half:]) + gzip.compress(b"")


NOTES = {
    "zstd": {"io.github.containers.zstd-chunked.manifest-position": "10:20:30:1"},
    "gzip": {"containerd.io/snapshot/stargz/toc.digest": "sha256:" + "a" * 64},
}


@pytest.mark.parametrize(("kind", "form"), [("zstd", chunked), ("gzip", estargz)])
def test_formats_for_partial_pulls_are_kept(start_registry, images, other_images, make, kind, form, tmp_path):
    import zlib

    host = start_registry()
    name = f"{host}/team/app:1"
    pushed = make(images, name, a=b"x" * 100_000, b=b"y" * 1000)
    registry.push(name, images=images)
    client = Client(parse(name), "pull,push")
    body, media_type, _ = client.manifest("1")
    found = manifest.parse(body, media_type, name)
    blob = form(zlib.decompress(client.blob(found.layers[0].digest, found.layers[0].size), 31))
    with images.blobs.ingest() as writer:
        writer.write(blob)
    client.upload(writer.digest, len(blob), lambda offset: [blob[offset:]])
    found.layers = [
        manifest.Descriptor(
            media_type=f"{manifest.OCI_LAYER}+{kind}", digest=writer.digest, size=len(blob), annotations=NOTES[kind]
        )
    ]
    client.put_manifest("1", msgspec.json.encode(found), manifest.OCI_MANIFEST)
    pulled = registry.pull(name, images=other_images)
    assert pulled.id == pushed.id
    other_images.tag(name, f"{host}/team/copy:1")
    registry.push(f"{host}/team/copy:1", images=other_images)
    assert described(f"{host}/team/copy:1") == found.layers
    # An image that was built on it takes the layer with its annotations.
    (tmp_path / "b").write_text("b")
    commit(other_images, pulled.id, str(tmp_path), tags=[f"{host}/team/built:1"])
    registry.push(f"{host}/team/built:1", images=other_images)
    below, above = described(f"{host}/team/built:1")
    assert (below, above.annotations) == (found.layers[0], {})
