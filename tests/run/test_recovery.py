"""What a crash left in the middle of a recreation."""

import asyncio

from composer.plan import labels
from composer.run.recovery import repair
from engine.spec.container import ContainerSpec
from tests.run.fake import FakeChanges, run


def names(changes):
    return [record.spec.name for record in changes.containers()]


async def half(changes):
    """The old container, and the one that was to take its place."""
    spec = ContainerSpec(name="p-a-1", image="i", labels={labels.SERVICE: "a"})
    old = await changes.create(spec)
    new = ContainerSpec(name=f"{old.id[:12]}_p-a-1", image="i", labels={labels.SERVICE: "a"})
    await changes.create(new, anonymous_volumes=("v",))
    return old


def test_the_new_one_goes_while_the_old_one_is_there():
    changes = FakeChanges()

    async def main():
        await half(changes)
        await repair(changes)

    run(main)
    assert names(changes) == ["p-a-1"]


def test_the_new_one_takes_the_name_when_the_old_one_has_gone():
    changes = FakeChanges()

    async def main():
        old = await half(changes)
        await changes.remove(old.id)
        await repair(changes)
        await asyncio.sleep(0)

    run(main)
    assert names(changes) == ["p-a-1"]
