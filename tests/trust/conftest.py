"""A registry, the signer's store, and the verifier's store."""

import secrets

import pytest

from engine import registry
from engine.image.images import ImageStore
from engine.paths import Roots
from engine.store import Store
from tests.registry.conftest import make, no_login, other_images, registries, serve  # noqa: F401
from tests.trust.signer import Key


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    """One registry for all tests, which use different names."""
    with registries(tmp_path_factory.mktemp("trust")) as start:
        yield start(5005)


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """The signer's store."""
    folder = tmp_path_factory.mktemp("signer")
    store = Store(Roots(str(folder / "state"), str(folder / "run")))
    yield ImageStore(store)
    store.close()


@pytest.fixture
def policy(tmp_path, monkeypatch):
    """Writes the user's policy; the machine has none."""
    path = tmp_path / "policy.toml"

    def write(text):
        path.write_text(text)
        monkeypatch.setenv("COMPOSER_POLICY", str(path))
        return str(path)

    return write


@pytest.fixture
def image(host, images, make):  # noqa: F811
    """An unsigned image in the registry: its name and digest."""
    name = f"{host}/{secrets.token_hex(4)}/app:1"
    make(images, name)
    return name, registry.push(name, images=images)


@pytest.fixture
def key(tmp_path):
    made = Key()
    (tmp_path / "release.pub").write_bytes(made.pem)
    return made


@pytest.fixture
def keyed(policy, key):
    policy('[[rule]]\nimages = ["localhost:5005/**"]\nrequire = "signature"\nkeys = ["release.pub"]\n')
