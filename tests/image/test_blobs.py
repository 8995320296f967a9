import os

import pytest

from engine.errors import Corrupt, NotFound
from engine.image.blobs import digest_of


def write(blobs, digest, size, *parts):
    with blobs.writer(digest, size) as writer:
        for part in parts:
            writer.write(part)


def test_a_blob_there_and_back(images):
    digest = images.blobs.add(b"hello")
    assert images.blobs.read(digest) == b"hello"
    assert images.blobs.has(digest, 5)
    assert not images.blobs.has(digest, 6)
    assert images.blobs.names() == [digest[7:]]
    assert os.stat(images.blobs.folder).st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("size", "content", "message"),
    [(5, b"jello", "has the digest"), (5, b"hell", "has 4 bytes"), (4, b"hello", "longer than the 4 bytes")],
)
def test_blob_with_a_wrong_digest_is_discarded(images, size, content, message):
    with pytest.raises(Corrupt, match=message):
        write(images.blobs, digest_of(b"hello"), size, content)
    assert images.blobs.names() == []


def test_interrupted_writer_leaves_no_blob(images):
    with pytest.raises(KeyboardInterrupt), images.blobs.writer(digest_of(b"hello"), 5) as writer:
        writer.write(b"he")
        raise KeyboardInterrupt
    assert images.blobs.names() == []


def test_restarted_writer_starts_over(images):
    with images.blobs.writer(digest_of(b"hello"), 5) as writer:
        writer.write(b"hex")
        writer.restart()
        writer.write(b"hello")
    assert images.blobs.read(digest_of(b"hello")) == b"hello"


def test_ingested_content_gets_its_digest(images):
    with images.blobs.ingest() as writer:
        writer.write(b"hello")
    assert writer.digest == digest_of(b"hello")
    assert images.blobs.read(writer.digest) == b"hello"


@pytest.mark.parametrize("damaged", [b"jello", b"hell", b"hello!"])
def test_a_damaged_blob_is_not_read(images, damaged):
    digest = images.blobs.add(b"hello")
    with open(images.blobs.path(digest), "wb") as file:
        file.write(damaged)
    with pytest.raises(Corrupt):
        images.blobs.read(digest)


def test_a_missing_blob(images):
    with pytest.raises(NotFound):
        images.blobs.read(digest_of(b"x"))
