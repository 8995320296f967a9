"""The policy at the command line: what up, run, build, pull and the API refuse, and image verify."""

import os

import pytest

from tests.trust import signer
from tests.trust.signer import Key


@pytest.fixture
def image(registry, roots):
    """`busybox` in a registry: its name and digest. Pulled images are removed after the test."""
    from engine.image import gc
    from engine.image.images import ImageStore
    from engine.registry import push
    from engine.store import Store

    store = Store(roots)
    images = ImageStore(store)
    name = f"{registry}/team/app:1"
    images.tag("busybox", name)
    digest = push(name, images=images)
    images.remove(name)
    with store.transaction() as db:
        db.execute("DELETE FROM digests WHERE reference LIKE ?", (f"{registry}%",))
    yield name, digest
    with store.transaction() as db:
        db.execute("DELETE FROM digests WHERE reference LIKE ?", (f"{registry}%",))
        db.execute("DELETE FROM tags WHERE reference LIKE ?", (f"{registry}%",))
    gc.collect(images)
    if os.path.isdir(f"{roots.state}/trust"):
        os.rmdir(f"{roots.state}/trust")  # nothing is left in it
    store.close()


def demand(composer, key):
    (composer.folder / "release.pub").write_bytes(key.pem)
    composer.write(
        {"policy.toml": '[[rule]]\nimages = ["localhost:*/**"]\nrequire = "signature"\nkeys = ["release.pub"]\n'}
    )
    composer.environ["COMPOSER_POLICY"] = str(composer.folder / "policy.toml")


def test_up_refuses_what_is_not_signed(composer, image):
    name, digest = image
    key = Key()
    composer.write(
        compose=f"""
        services:
          web: {{image: '{name}', command: [sleep, '1000'], init: true}}
          built: {{build: {{dockerfile_inline: "FROM {name}\\nRUN true\\n"}}, command: 'true'}}
        """
    )
    composer("pull", "web")  # before the policy existed
    demand(composer, key)
    for words in (("up", "-d", "web"), ("create", "web"), ("run", "--rm", "web", "true"), ("build", "built")):
        done = composer(*words, code=None)
        assert done.code, words
        assert f"image {name} ({digest}) is refused by" in done.err, words
        assert "policy.toml, rule 1: it is not signed" in done.err
    assert not composer.ps()
    done = composer("container", "create", name, code=None)
    assert done.code
    assert "it is not signed" in done.err
    assert "it is not signed" in composer("image", "verify", name, code=1).err
    signer.sign(name, digest, key)
    done = composer("image", "verify", name)
    assert (
        f"{name}: admitted by {composer.folder}/policy.toml, rule 1, signed by {composer.folder}/release.pub\n"
        == done.out
    )
    composer("up", "-d")
    assert composer.ps()["web"][0]["State"] == "running"
    other = Key()
    (composer.folder / "other.pub").write_bytes(other.pem)
    assert "with none of the rule's keys" in composer("image", "verify", "--key", "other.pub", name, code=1).err
    assert "signed by" in composer("image", "verify", "--key", "other.pub", "--key", "release.pub", name).out
    composer("down", "--rmi", "local")


def test_a_pinned_digest_and_the_lock(composer, image):
    name, _ = image
    composer.write(
        {"policy.toml": 'default = "reject"\n[[rule]]\nimages = ["localhost:*/**"]\nrequire = "digest"\n'},
        compose=f"services: {{web: {{image: '{name}', command: [sleep, '1000'], init: true}}}}\n",
    )
    composer.environ["COMPOSER_POLICY"] = str(composer.folder / "policy.toml")
    done = composer("up", "-d", code=1)
    assert "it is not pinned to a digest\nWrite NAME@sha256:…, or run `composer lock` and use --locked." in done.err
    composer("lock")
    composer("up", "-d", "--locked")
    assert composer.ps()["web"][0]["State"] == "running"
    composer.write(compose="services: {web: {image: busybox, command: 'true'}}\n")
    assert "image busybox:latest is refused by the default of /" in composer("up", "-d", code=1).err
    composer("down")


def test_a_broken_policy_stops_everything(composer):
    composer.write({"policy.toml": "rule"}, compose="services: {web: {image: busybox, command: 'true'}}\n")
    composer.environ["COMPOSER_POLICY"] = str(composer.folder / "policy.toml")
    done = composer("up", "-d", code=1)
    assert "policy.toml: Expected '=' after a key" in done.err
    assert not composer.ps()
