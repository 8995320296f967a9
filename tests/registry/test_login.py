"""Logging in and out: checked at a real registry, and stored by a helper or in a file that only its owner can read."""

import json
import os
import stat

import pytest

from engine.errors import RegistryError
from engine.registry import credentials
from engine.registry.login import login, logout
from engine.spec.credentials import Credentials


@pytest.fixture
def config(tmp_path):
    return tmp_path / "docker" / "config.json"


def test_the_right_password_is_kept_in_a_private_file(start_registry, config):
    host = start_registry(auth=True)
    assert login(host, "tester", "secret") == str(config)
    assert stat.S_IMODE(os.stat(config).st_mode) == 0o600
    assert credentials.find(host) == Credentials("tester", "secret")
    assert logout(f"http://{host}/v2/")
    assert credentials.find(host) is None and not logout(host)
    assert [one.name for one in config.parent.iterdir()] == ["config.json"]


def test_a_wrong_password_changes_nothing(start_registry, config):
    host = start_registry(auth=True)
    with pytest.raises(RegistryError, match="unauthorized"):
        login(host, "tester", "wrong")
    assert not config.exists()


def test_a_helper_keeps_it(start_registry, config, tmp_path, monkeypatch):
    host = start_registry(auth=True)
    kept = tmp_path / "kept"
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        f"#!/bin/sh\ncase $1 in store) cat > {kept};; erase) rm {kept};;"
        f" get) [ -e {kept} ] && cat {kept} || {{ echo credentials not found in native keychain; exit 1; }};; esac\n"
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    config.parent.mkdir()
    config.write_text(
        json.dumps({"credsStore": "test", "psFormat": "x", "auths": {f"https://{host}/v1/": {"auth": "eDp5"}}})
    )
    assert login(host, "tester", "secret") == "docker-credential-test"
    written = json.loads(config.read_text())
    assert written == {"credsStore": "test", "psFormat": "x", "auths": {host: {}}}
    assert credentials.find(host) == Credentials("tester", "secret")
    assert logout(host) and not kept.exists()
