import base64
import json
import os

import pytest

from engine.errors import RegistryError
from engine.registry.credentials import find, stored
from engine.spec.credentials import Credentials


@pytest.fixture
def environ(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return {"DOCKER_CONFIG": str(tmp_path)}


def write(environ, config):
    with open(f"{environ['DOCKER_CONFIG']}/config.json", "w") as file:
        file.write(config if isinstance(config, str) else json.dumps(config))


def helper(environ, name, script):
    path = f"{environ['DOCKER_CONFIG']}/bin/docker-credential-{name}"
    with open(path, "w") as file:
        file.write(f"#!/bin/sh\n{script}\n")
    os.chmod(path, 0o755)


def auth(text):
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("registry", "key"),
    [
        ("docker.io", "https://index.docker.io/v1/"),
        ("ghcr.io", "ghcr.io"),
        ("localhost:5000", "localhost:5000"),
        ("quay.io", "https://quay.io"),
        ("quay.io", "http://quay.io/v2/any/path"),
        ("localhost:5000", "localhost:5000/namespace"),
        ("docker.io", "https://registry-1.docker.io/v2/"),
    ],
)
def test_auths(environ, registry, key):
    write(environ, {"auths": {key: {"auth": auth("me:pass:word")}}})
    assert find(registry, environ) == Credentials("me", "pass:word")
    assert find("other.example", environ) is None


def test_missing_file_means_no_credentials(environ):
    assert find("ghcr.io", environ) is None


def test_an_identity_token(environ):
    write(environ, {"auths": {"x.io": {"auth": auth("0:"), "identitytoken": "t"}}})
    assert find("x.io", environ) == Credentials(identity_token="t")


def test_credential_helper_is_used(environ):
    helper(environ, "good", 'read server; echo "{\\"Username\\": \\"u-$server\\", \\"Secret\\": \\"s\\"}"')
    write(environ, {"credHelpers": {"x.io": "good"}, "auths": {"x.io": {"auth": auth("a:b")}}})
    assert find("x.io", environ) == Credentials("u-x.io", "s")
    write(environ, {"credsStore": "good"})
    assert find("docker.io", environ).username == "u-https://index.docker.io/v1/"


def test_a_helper_that_has_none(environ):
    helper(environ, "none", "echo credentials not found in native keychain; exit 1")
    write(environ, {"credsStore": "none"})
    assert find("x.io", environ) is None


@pytest.mark.parametrize("script", ["echo broken >&2; exit 1", "echo '{}'", "echo x"])
def test_a_broken_helper_is_named(environ, script):
    helper(environ, "bad", script)
    write(environ, {"credHelpers": {"x.io": "bad"}})
    with pytest.raises(RegistryError, match="docker-credential-bad"):
        find("x.io", environ)


@pytest.mark.parametrize(
    "config", ["{", "[]", {"auths": {"x.io": {"auth": "###"}}}, {"auths": {"x.io": {"auth": auth("x")}}}]
)
def test_an_unreadable_file_is_named(environ, config):
    write(environ, config)
    with pytest.raises(RegistryError, match=r"config\.json"):
        find("x.io", environ)


def test_a_helper_is_a_name_not_a_path(environ):
    write(environ, {"credHelpers": {"x.io": "../../bin/sh"}})
    with pytest.raises(RegistryError, match="invalid credential helper"):
        find("x.io", environ)


@pytest.mark.parametrize("config", [{"auths": []}, {"auths": {"ghcr.io": "text"}}, {"credHelpers": "x"}, "[" * 100_000])
def test_malformed_files_are_named(environ, config):
    write(environ, config)
    with pytest.raises(RegistryError, match="cannot read the registry credentials in"):
        find("ghcr.io", environ)


def test_an_exact_key_comes_first(environ):
    write(environ, {"auths": {"https://ghcr.io/v1/": {"auth": auth("a:b")}, "ghcr.io": {"auth": auth("c:d")}}})
    assert find("ghcr.io", environ) == Credentials("c", "d")


def test_stored_credentials_are_listed(environ):
    helper(
        environ,
        "store",
        """case $1 in list) echo '{"a.example": "u"}';; get) echo '{"Username": "u", "Secret": "s"}';; esac""",
    )
    config = {"auths": {"b.example": {"auth": auth("v:t")}, "c.example": {}}, "credsStore": "store"}
    write(environ, config)
    assert stored(environ) == {
        "a.example": Credentials("u", "s"),
        "b.example": Credentials("v", "t"),
    }
