import pytest

from composer.run.held_root import HeldRoot
from engine.errors import WrongState


def test_the_same_directory_is_accepted_under_changes(tmp_path):
    held = HeldRoot(str(tmp_path), "shop")
    (tmp_path / "composer.db").write_text("")
    held.check()


@pytest.mark.parametrize("again", [True, False])
def test_another_directory_at_the_path_is_refused(tmp_path, again):
    root = tmp_path / "state"
    root.mkdir()
    held = HeldRoot(str(root), "shop")
    root.rename(tmp_path / "former")
    if again:
        root.mkdir()
    with pytest.raises(WrongState, match="is not the state root on which the supervisor of project shop") as raised:
        held.check()
    assert "Put the former one back" in str(raised.value)
    if again:
        root.rmdir()
    (tmp_path / "former").rename(root)
    held.check()
