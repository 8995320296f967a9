"""Image references: the grammar of the distribution project and Docker's short forms.

reference  = name [":" tag] ["@" digest]
name       = [domain "/"] path
redis:7    = docker.io/library/redis:7        (the domain and `library/` are implied)
"""

from __future__ import annotations

import re

from msgspec import Struct

from engine.errors import BadReference
from engine.vocabulary import DIGEST, DOCKER_HUB, HUB_HOSTS

DEFAULT_REGISTRY = DOCKER_HUB
DEFAULT_TAG = "latest"

_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?\Z"
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\Z"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z"
_DIGEST = rf"{DIGEST}\Z"
_IMAGE_ID = r"(?:sha256:)?[0-9a-f]{64}\Z"
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
        """The short form that users write, without implied parts (docker.io/library/redis:7 → redis:7)."""
        name = self.name
        if self.registry == DEFAULT_REGISTRY:
            name = self.repository.removeprefix("library/") if self.repository.count("/") == 1 else self.repository
        return name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def pinned(self) -> str:
        """The digest if there is one, otherwise the tag: what is requested from a registry."""
        return self.digest or self.tag or DEFAULT_TAG

    def with_digest(self, digest: str) -> Reference:
        """The same repository at `digest`, without a tag."""
        return Reference(self.registry, self.repository, "", digest)


def parse(text: str) -> Reference:
    """Parse a reference; the tag is `latest` when neither tag nor digest is given. Raises BadReference (grammar:
    https://github.com/distribution/reference)."""
    rest, at, digest = text.partition("@")
    if at and not re.match(_DIGEST, digest):
        raise BadReference(f"invalid image reference {text!r}: the digest must be sha256: and 64 hex digits")
    name, colon, tag = _split_tag(rest)
    if colon and not re.match(_TAG, tag):
        raise BadReference(f"invalid image reference {text!r}: {tag!r} is not a valid tag")
    registry, repository = _split(name)
    if not repository or not re.match(_PATH, repository):
        lower = repository.lower()
        hint = f"Repository names are lower case: {lower}" if lower != repository and re.match(_PATH, lower) else ""
        raise BadReference(
            f"invalid image reference {text!r}: {repository!r} is not a valid repository name", hint=hint
        )
    if not re.match(_DOMAIN, registry):
        raise BadReference(f"invalid image reference {text!r}: {registry!r} is not a valid registry")
    if not at and re.match(_IMAGE_ID, name):
        raise BadReference(f"invalid image reference {text!r}: 64 hex digits are an image id, not a name")
    if len(registry) + 1 + len(repository) > _NAME_LIMIT:
        raise BadReference(f"invalid image reference {text[:40]!r}…: the name is longer than {_NAME_LIMIT} characters")
    return Reference(registry, repository, tag or ("" if at else DEFAULT_TAG), digest)


def is_id(text: str) -> bool:
    """Whether `text` is an image's id: 64 hex digits, with or without `sha256:`."""
    return bool(re.match(_IMAGE_ID, text))


def unchecked(text: str) -> str:
    """The full form of a reference by tag, for looking it up among those that `parse` has produced. Checking would take longer
    than the look-up, which cannot find an invalid reference."""
    name, colon, tag = _split_tag(text)
    return f"{'/'.join(_split(name))}:{tag if colon else DEFAULT_TAG}"


def _split_tag(text: str) -> tuple[str, str, str]:
    """Name, ":", tag; the last two are "" when there is none. A colon before a slash belongs to a registry's port."""
    head, colon, tail = text.rpartition(":")
    return (head, colon, tail) if colon and "/" not in tail else (text, "", "")


def _split(name: str) -> tuple[str, str]:
    """The registry and the repository. A first component with a dot, a colon, or `localhost` is a registry."""
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        registry, repository = DEFAULT_REGISTRY, name
    else:
        registry, repository = first, rest
    if registry in HUB_HOSTS[:2]:
        registry = DEFAULT_REGISTRY
        if "/" not in repository:
            repository = f"library/{repository}"
    return registry, repository
