"""A registry, the signer's store, and the verifier's store."""

import pytest

from engine.image.images import ImageStore
from engine.paths import Roots
from engine.store import Store
from tests.registry.conftest import make, no_login, other_images, registries  # noqa: F401


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
