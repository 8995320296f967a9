"""Image references: the grammar of the distribution project and Docker's short forms.

reference  = name [":" tag] ["@" digest]
name       = [domain "/"] path
redis:7    = docker.io/library/redis:7        (the domain and `library/` are implied)
"""

from __future__ import annotations

import re

from msgspec import Struct

from engine.errors import BadReference

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"

_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?\Z")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_IMAGE_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}\Z")
_NAME_LIMIT = 255


class Reference(Struct, frozen=True):
    """A normalised reference. `tag` and `digest` may each be ""; `str()` gives the full form that the store keeps."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar(self) -> str:
        """As a user writes it: without what is implied (docker.io/library/redis:7 → redis:7)."""
        name = self.name
        if self.registry == DEFAULT_REGISTRY:
            name = self.repository.removeprefix("library/") if self.repository.count("/") == 1 else self.repository
        return name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def pinned(self) -> str:
        """The digest if there is one, else the tag: what a registry is asked for."""
        return self.digest or self.tag or DEFAULT_TAG

    def with_digest(self, digest: str) -> Reference:
        """The same repository at `digest`, without a tag."""
        return Reference(self.registry, self.repository, "", digest)


def parse(text: str) -> Reference:
    """The reference that `text` means; the tag is `latest` when neither tag nor digest is given.

    Raises BadReference (https://github.com/distribution/reference is the grammar's home).
    """
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.match(digest):
        raise BadReference(f"invalid image reference {text!r}: the digest must be sha256: and 64 hex digits")
    name, tag = rest, ""
    head, colon, tail = rest.rpartition(":")
    if colon and "/" not in tail:
        name, tag = head, tail
        if not _TAG.match(tag):
            raise BadReference(f"invalid image reference {text!r}: {tag!r} is not a valid tag")
    registry, repository = _split(name)
    if not repository or not _PATH.match(repository):
        lower = repository.lower()
        hint = f"Repository names are lower case: {lower}" if lower != repository and _PATH.match(lower) else ""
        raise BadReference(
            f"invalid image reference {text!r}: {repository!r} is not a valid repository name", hint=hint
        )
    if not _DOMAIN.match(registry):
        raise BadReference(f"invalid image reference {text!r}: {registry!r} is not a valid registry")
    if not at and _IMAGE_ID.match(name):
        raise BadReference(f"invalid image reference {text!r}: 64 hex digits are an image id, not a name")
    if len(registry) + 1 + len(repository) > _NAME_LIMIT:
        raise BadReference(f"invalid image reference {text[:40]!r}…: the name is longer than {_NAME_LIMIT} characters")
    return Reference(registry, repository, tag or ("" if at else DEFAULT_TAG), digest)


def _split(name: str) -> tuple[str, str]:
    """The registry and the repository. A first component with a dot, a colon, or `localhost` is a registry."""
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        registry, repository = DEFAULT_REGISTRY, name
    else:
        registry, repository = first, rest
    if registry in (DEFAULT_REGISTRY, "index.docker.io"):
        registry = DEFAULT_REGISTRY
        if "/" not in repository:
            repository = f"library/{repository}"
    return registry, repository
