import pytest

from engine.image.images import ImageStore
from engine.paths import Roots
from engine.store import Store


@pytest.fixture
def images(tmp_path):
    store = Store(Roots(str(tmp_path / "state"), str(tmp_path / "run")))
    yield ImageStore(store)
    store.close()
