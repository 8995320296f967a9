"""A registry, the store of one who signs, and the store of one who verifies."""

import pytest

from engine.image.images import ImageStore
from engine.paths import Roots
from engine.store import Store
from tests.registry.conftest import make, no_login, other_images, registries  # noqa: F401


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    """One registry for all tests, which take names of their own."""
    with registries(tmp_path_factory.mktemp("trust")) as start:
        yield start(5005)


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """The store of the one who signs."""
    folder = tmp_path_factory.mktemp("signer")
    store = Store(Roots(str(folder / "state"), str(folder / "run")))
    yield ImageStore(store)
    store.close()


@pytest.fixture
def policy(tmp_path, monkeypatch):
    """Writes the user's policy; the machine's is not there."""
    path = tmp_path / "policy.toml"

    def write(text):
        path.write_text(text)
        monkeypatch.setenv("COMPOSER_POLICY", str(path))
        return str(path)

    return write
