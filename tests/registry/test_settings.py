"""Mirrors, rewrites and trust from registries.toml, against real servers."""

import pytest

from engine import registry
from engine.errors import InvalidSpec, RegistryError
from engine.registry import settings
from engine.registry.transport import Transport


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "registries.toml"
    path.touch()
    monkeypatch.setenv("COMPOSER_REGISTRIES", str(path))
    monkeypatch.setattr("engine.registry.transport.pause", lambda *_: None)
    return path


def test_mirrors_come_first_and_dead_ones_are_skipped(start_registry, make, images, other_images, file):
    host = start_registry()
    record = make(images, f"{host}/hub/library/app:1", file=b"x")
    registry.push(f"{host}/hub/library/app:1", images=images)
    file.write_text(
        f'[registry."docker.io"]\nmirrors = ["http://127.0.0.1:1", "http://{host}/other", "http://{host}/hub"]\n'
    )
    told = []
    pulled = registry.pull("app:1", images=other_images, progress=told.append)
    assert pulled.id == record.id and "docker.io/library/app:1" in pulled.tags
    assert sum("Mirror" in str(event["status"]) for event in told) == 2


def test_a_registry_that_is_elsewhere(start_registry, make, images, other_images, file):
    host = start_registry()
    file.write_text(f'[registry."old.example.com"]\nlocation = "http://{host}/archive"\n')
    record = make(images, "old.example.com/app:1", file=b"x")
    registry.push("old.example.com/app:1", images=images)
    assert registry.pull("old.example.com/app:1", images=other_images).id == record.id
    assert registry.pull(f"{host}/archive/app:1", images=images).id == record.id


def test_plain_http_and_trust(file):
    file.write_text(
        '[registry."a:1"]\nplain_http = true\n[registry."b"]\ninsecure = true\n[registry."c"]\nca = "/none.pem"\n'
    )
    assert Transport("a:1").base == "http://a:1"
    assert Transport("b").trusting and not Transport("d").trusting
    with pytest.raises(RegistryError, match=r"cannot use the CA file /none\.pem"):
        Transport("c")


@pytest.mark.parametrize(
    "text",
    [
        '[registry."a"]\nmirror = "x"',
        "registry = 1",
        "[[",
        '[registry."a"]\nread_timeout = "x"',
        "[other]",
        '[registry."a"]\nconnect_timeout = -1',
        '[registry."a"]\nread_timeout = 0',
        '[registry."a"]\nread_timeout = nan',
        '[registry."a"]\nread_timeout = inf',
        '[registry."a"]\ncompression_level = 99',
        '[registry."a"]\nmirrors = ["b", "ftp://x"]',
        '[registry."a"]\nlocation = "http://"',
        "x" * (2 << 20),
    ],
)
def test_wrong_files_are_named(file, text):
    file.write_text(text)
    with pytest.raises(InvalidSpec, match=str(file)):
        settings.of("a")


@pytest.mark.parametrize("text", ["ftp://x", "", "https://", "user@host", "a b/c", "a:b", "[::1", "a:1:2", "a\n"])
def test_wrong_places(text):
    with pytest.raises(InvalidSpec):
        settings.endpoint(text)


def test_named_file_must_exist(tmp_path):
    with pytest.raises(InvalidSpec, match=f"COMPOSER_REGISTRIES names {tmp_path}/none, which does not exist"):
        settings.of("a", {"COMPOSER_REGISTRIES": f"{tmp_path}/none"})
    with pytest.raises(InvalidSpec, match=f"cannot read {tmp_path}: Is a directory"):
        settings.of("a", {"COMPOSER_REGISTRIES": str(tmp_path)})


@pytest.mark.parametrize("text", ["[::1]:5000/x", "http://h_1.Example:80", "10.0.0.1"])
def test_places(text):
    assert settings.endpoint(text).host in text


def test_the_users_file_wins(tmp_path):
    (tmp_path / "composer").mkdir()
    (tmp_path / "composer/registries.toml").write_text('[registry."a"]\nread_timeout = 5\n')
    assert settings.of("a", {"XDG_CONFIG_HOME": str(tmp_path)}).read_timeout == 5
    assert settings.of("b", {"XDG_CONFIG_HOME": str(tmp_path)}) == settings.Settings()
