"""Detect secrets in values and files. The kinds and their names are docker compose's. Tokens are recognised by the
vendors' formats: prefix and length.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

LARGEST = 10_000_000
"""Bytes of a file that is searched; a larger text is itself reported."""
_B64 = r"[A-Za-z0-9+/]"


class Finding(Struct, frozen=True):
    """`key` is the location of the value: dotted keys in a file, or "" in plain text."""

    kind: str
    key: str
    value: str

    def __str__(self) -> str:
        return f'{self.kind}\n"{self.key}": {self.value}'


class _Rule(Struct, frozen=True):
    """A kind of secret: a pattern for its value, and a function of key and value that must confirm it."""

    kind: str
    form: re.Pattern[str]
    verify: Callable[[str, str], bool] = lambda key, value: True


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""


def _is_credential(key: str, value: str) -> bool:
    """The parameter of Basic authentication is base64 of name:password (RFC 7617)."""
    try:
        return ":" in _decoded(value.strip('"').rpartition(" ")[2]).decode()[1:-1]
    except UnicodeDecodeError:
        return False


def _is_token(key: str, value: str) -> bool:
    """Header and payload of a JSON Web Token are JSON objects (RFC 7519); one without a signature says so."""
    parts = value.split(".")
    try:
        header, payload = (json.loads(_decoded(part) or b"0") for part in parts[:2])
    except ValueError:
        return False
    return isinstance(header, dict) and isinstance(payload, dict) and (len(parts) > 2 or header.get("alg") == "none")


def _entropy(text: str) -> float:
    """Shannon entropy in bits per character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def _is_random(key: str, value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return _entropy(value) > 5
    return False


def _has_password(key: str, value: str) -> bool:
    return not value.partition("://")[2].partition("@")[0].partition(":")[2].startswith("$")


_RULES = tuple(
    _Rule(kind, re.compile(form), *verify)
    for kind, form, *verify in (
        ("JFrog Artifactory credentials", r"AKC[a-zA-Z0-9]{10,}"),
        ("AWS Client ID", r"(?:A3T[A-Z0-9]|AKIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA|ASIA)[A-Z0-9]{16}"),
        ("AWS Secret Key", rf"(?:AWS|aws).{{0,20}}['\"]{_B64}{{40}}['\"]"),
        ("Amazon Marketplace Web Service (MWS) Key", r"amzn\.mws\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        (
            "Azure Storage Account access key",
            r"(?:AccountKey=)?[a-zA-Z0-9+/=]{88}",
            lambda key, value: value.startswith("AccountKey") or key.endswith("AccountKey"),
        ),
        (
            "HTTP Basic Authentication",
            r'(?i:"?authorization"? *[:=] *)?"?(?i:basic) +[\w+/,-]{2,}={0,2}"?',
            _is_credential,
        ),
        ("Github authentication", r"gh[pousr]_[A-Za-z0-9_]{36}|github_pat_[A-Za-z0-9_]{82}"),
        ("JSON Web Token", r"eyJ[\w=-]+\.eyJ[\w=-]+\.?[\w.+/=-]*", _is_token),
        ("Mailchimp API Key", r"[0-9a-f]{32}-us[0-9]{1,2}"),
        ("npm auth token", r"//\S+/:_authToken=[^${\s]\S+|npm_[a-zA-Z0-9]{36}"),
        (
            "Private Key",
            r"PuTTY-User-Key-File-.*|-*BEGIN[ \S]+?PRIVATE KEY(?: BLOCK)?-*[\S\s]{4,}?-*END[ \S]+?PRIVATE KEY(?: BLOCK)?-*",
        ),
        ("Sendgrid API key", r"SG\.[\w-]{22}\.[\w-]{43}"),
        (
            "Slack token",
            r"(?:(?:xoxe\.)?xox[bp]|xox[aeosr]|xapp)-\d+-[-a-zA-Z0-9]+|https://hooks\.slack\.com/services/T\w+/B\w+/\w+",
        ),
        ("Square authentication", r"sq0atp-[\w\\-]{22}|sq0csp-[\w\\-]{43}"),
        ("Stripe API key", r"[rs]k_(?:live|test)_[0-9a-zA-Z]{24}"),
        ("Twilio authentication", r"(?:AC|SK)[0-9a-fA-F]{32}"),
        ("URL with password", r"[a-z][a-z0-9+.-]+://[^:\s/]*:[^@:\s]+@[^\s'\"\];]+", _has_password),
        ("High entropy string", r"[\w+/-]{16,}={0,2}", _is_random),
    )
)
_OF_KEYS = ("api", "access", "auth", "service", "account", "db", "database", "priv", "private", "client")
_WORDS = "|".join(
    (
        *(rf"{word}[-_]?key" for word in _OF_KEYS),
        *(rf"{word}[-_]?pass" for word in ("db", "database", "key")),
        *("password", "passwd", "pwd", "secret", "token", "contraseña", "contrasena"),
    )
)
_SUSPICIOUS = re.compile(rf"(?i:{_WORDS})")
_LITERAL = re.compile(r"[^${\s].+[^}\s]")
"""Text that is no variable and no template."""
_KEYWORD = "Keyword Detector"


def names_a_secret(key: str) -> bool:
    """Whether the name sounds like that of a password or token."""
    return bool(_SUSPICIOUS.search(key.rpartition(".")[2]))


def is_literal(text: str) -> bool:
    """Whether the text contains no variables; `$$` is an escaped dollar sign."""
    return any(_LITERAL.fullmatch(line.strip()) for line in text.replace("$$", "X").splitlines())


def in_values(values: Mapping[str, str]) -> list[Finding]:
    """One finding for each key whose whole value is a secret, of the first matching kind."""
    found = []
    for key, value in values.items():
        kind = next((rule.kind for rule in _RULES if _fits(rule, key, value)), "")
        if not kind and names_a_secret(key) and is_literal(value) and _entropy(value) >= 4:
            kind = _KEYWORD
        if kind:
            found.append(Finding(kind, key, value))
    return found


def _fits(rule: _Rule, key: str, value: str) -> bool:
    bare = value.strip().strip("'\"") if rule.kind != "AWS Secret Key" else value.strip()
    return bool(rule.form.fullmatch(bare)) and rule.verify(key, bare)


def in_text(text: str) -> list[Finding]:
    """Findings in unstructured text, at most one kind per line."""
    found: list[Finding] = []
    taken: list[tuple[int, int]] = []
    for rule in _RULES:
        for match in rule.form.finditer(text):
            start, end = match.span()
            free = not any(start < last and first < end for first, last in taken)
            if free and rule.verify("", match.group()) and not text[start - 1 : start].isalnum():
                taken.append((start, end))
                found.append(Finding(rule.kind, "", match.group()))
    return found


def in_file(path: str) -> list[Finding]:
    """Findings in a file: by keys if it is JSON, YAML or lines of NAME=VALUE, otherwise as text. Raises OSError."""
    with open(path, "rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        return [Finding("Suspicious text file size", path, f"more than {LARGEST} bytes")]
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        return []
    values = _structured(text)
    return in_text(text) if values is None else in_values(values)


def _structured(text: str) -> dict[str, str] | None:
    """Dotted key → value; None if the text is unstructured."""
    import yaml

    try:
        tree = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # JSON is YAML
    except (yaml.YAMLError, ValueError, RecursionError):
        tree = None
    if isinstance(tree, dict):
        return flattened(tree)
    pairs = [line.partition("=") for line in text.splitlines() if line.strip() and line.lstrip()[0] not in "#;["]
    if not pairs or not all(equals and re.fullmatch(r"(?:export\s+)?[\w.-]+\s*", name) for name, equals, _ in pairs):
        return None
    if len(pairs) == 1 and not pairs[0][2].strip("="):
        return None  # the padding of base64
    return {name.removeprefix("export ").strip(): value.strip() for name, _, value in pairs}


def flattened(tree: Any) -> dict[str, str]:
    """A tree's scalars by their dotted keys: services.web.ports[0]."""
    return dict(_scalars(tree, ""))


def _scalars(value: Any, path: str) -> Iterator[tuple[str, str]]:
    inner: Iterable[tuple[str, Any]]
    if isinstance(value, dict):
        inner = ((f"{path}.{key}" if path else str(key), one) for key, one in value.items())
    elif isinstance(value, list):
        inner = ((f"{path}[{index}]", one) for index, one in enumerate(value))
    else:
        yield path, "" if value is None else str(value)
        return
    for key, one in inner:
        yield from _scalars(one, key)
