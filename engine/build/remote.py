"""ADD from http and https: downloaded into the build's cache, verified by --checksum when one is given."""

from __future__ import annotations

import errno
import hashlib
import re
import secrets

from msgspec import Struct

from engine.build import git
from engine.build.sources import Sources
from engine.errors import BuildFailed, OperationFailed
from engine.paths import private
from engine.tls import client_context

_URL = re.compile(r"https?://")
_TIMEOUT = 60
_CHUNK = 1 << 20


class Download(Struct, frozen=True):
    """`path` holds the content until the build ends; `mtime` is the server's Last-Modified, 0 (1970) if there was none."""

    url: str
    name: str
    path: str
    digest: str
    mtime: float


def is_url(text: str) -> bool:
    return bool(_URL.match(text))


def is_remote(text: str) -> bool:
    """Whether the source of an ADD is a URL or a Git repository."""
    return bool(_URL.match(text)) or git.is_git(text)


def fetch(url: str, checksum: str, sources: Sources, subject: str = "ADD") -> Download:
    """Download `url` for `subject`. Raises BuildFailed when that fails, or when `checksum` (sha256:…) or the lock's digest
    does not match."""
    checksum = checksum or sources.pin(url)
    import email.utils
    import urllib.error
    import urllib.parse
    import urllib.request

    digest = hashlib.sha256()
    request = urllib.request.Request(url, headers={"User-Agent": "composer", "Accept-Encoding": "identity"})
    try:
        path = f"{sources.temporary}/download-{secrets.token_hex(8)}"
        tls = client_context()  # a redirection may lead to https
        with (
            urllib.request.urlopen(request, timeout=_TIMEOUT, context=tls) as response,
            open(path, "xb", opener=private) as file,
        ):
            if not _URL.match(response.url):
                raise BuildFailed(f"{subject} {url}: redirected to {response.url}, which is not http")
            expected = response.headers.get("Content-Length", "")
            while data := response.read(_CHUNK):
                digest.update(data)
                file.write(data)
            if expected.isdecimal() and file.tell() != int(expected):
                raise BuildFailed(f"{subject} {url}: the download stopped after {file.tell()} of {expected} bytes")
            modified = email.utils.parsedate_tz(response.headers.get("Last-Modified", ""))
    except urllib.error.HTTPError as error:
        raise BuildFailed(f"{subject} {url}: the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise BuildFailed(f"{subject} {url}: {_reason(error.reason)}") from error
    except OSError as error:
        raise OperationFailed.of("download", url, error) from error
    found = f"sha256:{digest.hexdigest()}"
    if checksum and found != checksum:
        raise BuildFailed(f"{subject} {url}: digest mismatch: got {found}, expected {checksum}")
    sources.materials[url] = {"sha256": digest.hexdigest()}
    name = _file_name(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
    return Download(url, name, path, found, float(email.utils.mktime_tz(modified)) if modified else 0.0)


def _file_name(path: str) -> str:
    """BuildKit's name for the file at the decoded path of a URL."""
    name = path.rstrip("/").rpartition("/")[2]
    if name in ("", "."):
        return "__unnamed__"
    return "download" if name == ".." or "\0" in name else name


def _reason(reason: object) -> str:
    return (
        f"{errno.errorcode.get(reason.errno or 0, 'error')}: {reason.strerror}"
        if isinstance(reason, OSError)
        else str(reason)
    )
