"""Downloads of blobs, resumed where the connection broke (RFC 9110 section 14.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from urllib3.exceptions import HTTPError

from engine.errors import NotFound
from engine.image.blobs import BlobWriter
from engine.registry.repository import Repository
from engine.registry.transport import Attempts

_READ = 1 << 20


def download(
    repository: Repository,
    writer: BlobWriter,
    progress: Callable[[int], None] | None = None,
    *,
    urls: Sequence[str] = (),
) -> None:
    """Download the blob that `writer` expects. `urls` are other places to try if the registry may not distribute it
    (image-spec, descriptor.md).

    `progress` is called with the number of bytes so far, and may raise to stop. Raises RegistryError, Corrupt.
    """
    attempts, place, elsewhere = Attempts(), "", list(urls)
    while True:
        try:
            _once(repository, writer, progress, place)
        except NotFound:
            if not elsewhere:
                raise
            place = elsewhere.pop(0)
            repository.transport.check_scheme(place, "has a layer at")
        except (HTTPError, OSError) as error:
            if not attempts.again(writer.written):
                raise repository.transport.failure("GET", f"{repository.root}/blobs/{writer.digest}", error) from error
            continue
        else:
            return


def _once(repository: Repository, writer: BlobWriter, progress: Callable[[int], None] | None, place: str = "") -> None:
    headers = {"Accept-Encoding": "identity"}
    if writer.written:
        headers["Range"] = f"bytes={writer.written}-"
    url = place or f"{repository.root}/blobs/{writer.digest}"
    with repository.request("GET", url, headers=headers, authorize=not place) as response:
        subject = f"blob {writer.digest} of {repository.reference.familiar}"
        repository.responses.expect(response, (200, 206), subject, part=("blob", writer.digest))
        started = response.headers.get("Content-Range", "").startswith(f"bytes {writer.written}-")
        if writer.written and not (response.status == 206 and started):
            writer.restart()
        # Some servers encode the body even if that is not accepted. Decoding reads ahead, so we do it only then.
        encoded = "Content-Encoding" in response.headers
        while data := response.read(_READ, decode_content=encoded):
            writer.write(data)
            if progress:
                progress(writer.written)
