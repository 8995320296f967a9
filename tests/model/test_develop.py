"""Rules of develop.watch."""

from composer.model.develop import Trigger


def test_the_older_name_of_initial_sync() -> None:
    rule = {"path": "/src", "action": "sync", "target": "/x"}
    assert Trigger.model_validate({**rule, "x-initialSync": True}).initial_sync
    assert not Trigger.model_validate({**rule, "x-initialSync": True, "initial_sync": False}).initial_sync
    assert not Trigger.model_validate({**rule, "x-other": True}).initial_sync
