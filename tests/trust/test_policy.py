"""The file of rules."""

import pytest

from engine.errors import InvalidSpec
from engine.image.reference import parse as reference
from engine.trust.policy import parse, policies


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("**", "redis:7", True),
        ("redis", "redis:7", True),
        ("docker.io/library/redis", "redis@sha256:" + "0" * 64, True),
        ("docker.io/library/*", "acme/redis", False),
        ("docker.io/**", "acme/redis", True),
        ("registry.example.com/team/*", "registry.example.com/team/app:1", True),
        ("registry.example.com/team/*", "registry.example.com/team/deep/app", False),
        ("registry.example.com/team/**", "registry.example.com/team/deep/app", True),
        ("registry.example.com/team", "registry.example.com/team/app", False),
        ("registry.example.com/**", "registryXexample.com/app", False),
        ("localhost:5000/**", "localhost:5000/a/b", True),
    ],
)
def test_patterns(pattern, name, covered):
    found = parse(f'[[rule]]\nimages = ["{pattern}"]\nrequire = "reject"\n', "/p")
    assert (found.of(reference(name)).require == "reject") is covered


def test_first_matching_rule_wins():
    text = """
        default = "reject"
        [[rule]]
        images = ["a/b"]
        require = "accept"
        [[rule]]
        images = ["a/*"]
        require = "digest"
    """
    found = parse(text, "/etc/p.toml")
    assert [found.of(reference(name)).require for name in ("a/b", "a/c", "c")] == ["accept", "digest", "reject"]
    assert found.of(reference("a/c")).place == "/etc/p.toml, rule 2"


KEY = 'images = ["**"]\nrequire = "signature"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rule = 3", "Expected `array`"),
        ("[[rule]]\nimages = []\nrequire = 'accept'", "images is empty"),
        ("[[rule]]\nimages = ['a']", "missing required field `require`"),
        ("[[rule]]\nimages = ['a']\nrequire = 'signed'", "require must be one of accept, reject, digest, signature"),
        ("[[rule]]\nimages = ['a']\nrequire = 'accept'\nkey = 'x'", "unknown field `key`"),
        (f"[[rule]]\n{KEY}", "a signature needs keys or identities"),
        (f"[[rule]]\n{KEY}identities = [{{issuer = 'a', subject = 'b'}}]", "identities need a trusted_root"),
        (
            f"[[rule]]\n{KEY}trusted_root = 'r'\nidentities = [{{issuer = 'a'}}]",
            "either subject or subject_regexp",
        ),
        ("[[rule]]\nimages = ['a']\nrequire = 'digest'\ndigests = ['sha256:1']", "64 hex digits"),
        ("default = 'signature'", "default must be accept or reject"),
        ("[[rule]", "Expected ']]'"),
    ],
)
def test_mistakes_are_named(text, problem):
    with pytest.raises(InvalidSpec) as caught:
        parse(text, "/etc/p.toml")
    assert problem in str(caught.value)
    assert "/etc/p.toml" in str(caught.value)


def test_both_files_apply(tmp_path):
    mine = tmp_path / "composer/policy.toml"
    mine.parent.mkdir()
    mine.write_text("default = 'reject'\n")
    assert [one.default for one in policies({"XDG_CONFIG_HOME": str(tmp_path)})] == ["reject"]
    assert policies({"XDG_CONFIG_HOME": str(tmp_path / "none")}) == []
    with pytest.raises(InvalidSpec, match="does not exist"):
        policies({"COMPOSER_POLICY": str(tmp_path / "none")})
