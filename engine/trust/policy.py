"""An administrator's or user's requirements for images, in policy.toml (docs/policy.md).

/etc/composer/policy.toml, and then $XDG_CONFIG_HOME/composer/policy.toml (~/.config); COMPOSER_POLICY names another
file instead of the second one. An image must satisfy both.

default = "reject"

[[rule]]
images = ["registry.example.com/team/**"]
require = "signature"
keys = ["release.pub"]
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property

import msgspec
from msgspec import Struct, structs

from engine import vocabulary
from engine.bounded_read import MIB, read_bytes
from engine.errors import InvalidSpec
from engine.image.reference import Reference
from engine.paths import settings_files

ACCEPT, REJECT, DIGEST, SIGNATURE = "accept", "reject", "digest", "signature"
_REQUIRE = (ACCEPT, REJECT, DIGEST, SIGNATURE)
_DIGEST = re.compile(vocabulary.DIGEST)


class Identity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signer without a key: the certificate's `subject` (exact, or all of it matching `subject_regexp`) and
    the `issuer` that vouched for it."""

    issuer: str
    subject: str = ""
    subject_regexp: str = ""

    def admits(self, subject: str) -> bool:
        return subject == self.subject if self.subject else bool(re.fullmatch(self.subject_regexp, subject))


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """`images` are patterns of names without tags: `*` is a part of a path component, `**` anything. `keys` are PEM
    files, or PEM text; one signature by one of them, or by one of the identities, is enough. `trusted_root` is
    sigstore's file of certificate authorities and logs."""

    images: tuple[str, ...]
    require: str
    keys: tuple[str, ...] = ()
    identities: tuple[Identity, ...] = ()
    trusted_root: str = ""
    digests: tuple[str, ...] = ()
    place: str = ""

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(_translated(pattern)) for pattern in self.images)

    def covers(self, reference: Reference) -> bool:
        names = reference.name, structs.replace(reference, tag="", digest="").familiar
        return any(pattern.fullmatch(name) for pattern in self._patterns for name in names)


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules of one file; the first that matches an image applies. `place` names the default."""

    default: str = ACCEPT
    rule: tuple[Rule, ...] = ()
    place: str = ""

    def of(self, reference: Reference) -> Rule:
        """The rule for an image."""
        found = (rule for rule in self.rule if rule.covers(reference))
        return next(found, Rule(images=(), require=self.default, place=self.place))


def policies(environ: Mapping[str, str] = os.environ) -> list[Policy]:
    """The policies that apply here, usually none. Raises InvalidSpec for an invalid file."""
    machine, user = settings_files("policy.toml", environ)
    found = []
    for path in (machine, environ.get("COMPOSER_POLICY") or user):
        try:
            text = read_bytes(path, MIB, "a policy").decode()
        except FileNotFoundError:
            if path == environ.get("COMPOSER_POLICY"):
                raise InvalidSpec(f"COMPOSER_POLICY names {path}, which does not exist") from None
            continue
        except OSError as error:
            raise InvalidSpec(f"cannot read the policy {path}: {error.strerror}") from error
        except ValueError as error:
            raise InvalidSpec(f"cannot read the policy {path}: {error}") from error
        found.append(parse(text, path))
    return found


def parse(text: str, path: str) -> Policy:
    """The policy in `text`, the content of `path`, to whose directory file names are relative. Raises InvalidSpec."""
    import tomllib

    try:
        policy = msgspec.convert(tomllib.loads(text), Policy)
    except (ValueError, msgspec.ValidationError) as error:
        raise InvalidSpec(f"{path}: {error}") from error
    if policy.default not in (ACCEPT, REJECT):
        raise InvalidSpec(f"{path}: default must be accept or reject, not {policy.default!r}")
    rules = tuple(_checked(rule, number, path) for number, rule in enumerate(policy.rule, 1))
    return structs.replace(policy, rule=rules, place=f"the default of {path}")


def signature_rule(keys: Sequence[str], subject: str, issuer: str, trusted_root: str) -> Rule:
    """A rule from flags: one of `keys`, or the identity, must have signed. Raises InvalidSpec."""
    identities = (Identity(issuer=issuer, subject=subject),) if subject or issuer else ()
    rule = Rule(images=("**",), require=SIGNATURE, keys=tuple(keys), identities=identities, trusted_root=trusted_root)
    return structs.replace(_checked(rule, 1, "./flags"), place="the flags")


def _checked(rule: Rule, number: int, path: str) -> Rule:
    place = f"{path}, rule {number}"
    if not rule.images:
        raise InvalidSpec(f"{place}: images is empty")
    if rule.require not in _REQUIRE:
        raise InvalidSpec(f"{place}: require must be one of {', '.join(_REQUIRE)}, not {rule.require!r}")
    if rule.require == SIGNATURE and not rule.keys and not rule.identities:
        raise InvalidSpec(f"{place}: a signature needs keys or identities")
    if rule.require != SIGNATURE and (rule.keys or rule.identities or rule.trusted_root):
        raise InvalidSpec(f'{place}: keys, identities and trusted_root need require = "signature"')
    if rule.identities and not rule.trusted_root:
        raise InvalidSpec(f"{place}: identities need a trusted_root")
    if rule.digests and rule.require != DIGEST:
        raise InvalidSpec(f'{place}: digests need require = "digest"')
    for digest in rule.digests:
        if not _DIGEST.fullmatch(digest):
            raise InvalidSpec(f"{place}: {digest!r} is not sha256: and 64 hex digits")
    for identity in rule.identities:
        if bool(identity.subject) == bool(identity.subject_regexp):
            raise InvalidSpec(f"{place}: an identity has either subject or subject_regexp")
        try:
            re.compile(identity.subject_regexp)
        except re.error as error:
            raise InvalidSpec(f"{place}: subject_regexp: {error}") from error
    folder = os.path.dirname(os.path.abspath(path))
    keys = tuple(key if key.startswith("-----BEGIN") else os.path.join(folder, key) for key in rule.keys)
    root = os.path.join(folder, rule.trusted_root) if rule.trusted_root else ""
    return structs.replace(rule, keys=keys, trusted_root=root, place=place)


def _translated(pattern: str) -> str:
    """`**` anything, `*` anything but a slash."""
    parts = re.split(r"(\*\*|\*)", pattern)
    return "".join({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts)
