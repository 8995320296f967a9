"""Images: built, pulled from a registry, listed, removed."""

import pytest


@pytest.fixture
def built(composer):
    composer("build")
    yield composer
    composer("down", "--rmi", "all")


def test_build_and_run(built):
    built("up", "-d", "--wait")
    assert "hello from a build" in built("logs", "app").out
    assert "scenario/app" in built("images").out


def test_a_second_build_takes_the_cache(built):
    done = built("build", "--progress", "plain")
    assert "CACHED" in done.out + done.err


def test_a_failing_instruction_is_located(composer):
    composer.write(Dockerfile="FROM busybox\nRUN echo why it failed; exit 9\n")
    done = composer("build", code=None)
    assert done.code
    text = done.out + done.err
    assert "why it failed" in text
    assert "Dockerfile:2" in text
    assert "9" in text


def test_pull(composer, registry, roots):
    from engine.image.images import ImageStore
    from engine.registry import push
    from engine.store import Store

    store = Store(roots)
    images = ImageStore(store)
    reference = f"{registry}/busy/box:1"
    images.tag(images.need("busybox").id, reference)
    push(reference, images=images)
    images.remove(reference)
    store.close()
    composer.write(compose=f"services: {{web: {{image: '{reference}', command: [sleep, '1000'], init: true}}}}\n")
    done = composer("up", "-d")
    assert "Pull" in done.err
    assert composer.ps()["web"][0]["State"] == "running"
    composer("down", "--rmi", "all")


def test_a_budget_for_images(composer, roots):
    from engine.image.images import ImageStore
    from engine.store import Store

    environ = {"COMPOSER_IMAGE_BUDGET": "much"}
    composer.write(compose="services: {web: {image: busybox, command: [sleep, '1000'], init: true}}\n")
    assert "COMPOSER_IMAGE_BUDGET: " in composer("up", "-d", environ=environ, code=1).err
    assert not composer.ps()
    composer.write(Dockerfile="FROM busybox\nRUN echo old > /old\n")
    composer("image", "build", "-t", "scenario/old", ".")
    store = Store(roots)
    with store.transaction() as db:
        db.execute("UPDATE tags SET tagged_at = 1 WHERE reference LIKE '%scenario/old%'")
    done = composer("up", "-d", environ={"COMPOSER_IMAGE_BUDGET": "1k"})
    assert "\nRemoved 1 image over COMPOSER_IMAGE_BUDGET=1k" in done.err
    assert ImageStore(store).get("scenario/old") is None
    assert ImageStore(store).get("busybox")
    store.close()
    composer("down")
