"""composer.lock: its content, and that a locked command uses nothing else."""

import http.server
import json
import subprocess
import threading

import pytest

REPOSITORY = "git://elsewhere.example/stack"


@pytest.fixture
def publish(registry, roots):
    """Push `busybox` with a file /content as `name`; returns the full name. Pulled images are removed after the
    test."""
    import io
    import tarfile

    from engine.image.images import ImageStore
    from engine.image.importing import import_rootfs
    from engine.registry import push
    from engine.spec.image import ImageConfig
    from engine.store import Store

    def one(name, content):
        store = Store(roots)
        images = ImageStore(store)
        reference = f"{registry}/{name}"
        busybox = images.need("busybox")
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            folder = images.layers.path(busybox.layers[0])
            tar.add(folder, ".")
            info = tarfile.TarInfo("content")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content.encode()))
        config = ImageConfig(environment=("PATH=/bin",), command=("sleep", "1000"))
        record = import_rootfs(images, io.BytesIO(out.getvalue()), tags=[reference], config=config)
        push(reference, images=images)
        images.remove(record.id, force=True)
        store.close()
        return reference

    yield one
    store = Store(roots)
    images = ImageStore(store)
    for record in images.all():
        # `busybox` has a digest there, too, when another test has pushed it.
        if all(name.startswith(registry) for name in record.tags) and any(
            name.startswith(registry) for name in (*record.tags, *record.digests)
        ):
            images.remove(record.id, force=True)
    store.close()


@pytest.fixture
def website(tmp_path):
    """Serves a folder; returns the folder and its address."""
    (tmp_path / "www").mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "www"))

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield tmp_path / "www", f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def content(composer, service="web"):
    return composer("exec", "-T", service, "cat", "/content").out


def lock_of(composer):
    return json.loads((composer.folder / "composer.lock").read_text())


def test_a_moved_tag_is_not_followed(composer, publish):
    image = publish("team/app:1", "first")
    composer.write(compose=f"services: {{web: {{image: '{image}', init: true, stop_grace_period: 0s}}}}\n")
    composer("lock")
    assert lock_of(composer)["images"].keys() == {image}
    publish("team/app:1", "second")
    composer("up", "-d", "--locked")
    assert content(composer) == "first"
    assert composer.ps()["web"][0]["Image"] == image
    assert "Recreate" not in composer("up", "-d", "--locked").err
    composer("pull", "--locked")
    assert "composer.lock is not up to date\nRun `composer lock`" in composer("lock", "--check", code=1).err
    before = lock_of(composer)
    composer("lock", "--keep")
    assert lock_of(composer) == before
    composer("up", "-d", "--pull", "always")
    assert content(composer) == "second"
    composer("up", "-d", "--locked")
    assert content(composer) == "first"
    composer("lock")
    composer("lock", "--check")
    composer("up", "-d", "--locked")
    assert content(composer) == "second"
    composer("down", "-v")


def test_unlocked_images_are_refused(composer, publish):
    image = publish("team/app:1", "first")
    composer.write(compose=f"services: {{web: {{image: '{image}'}}, other: {{image: 'elsewhere/unknown:2'}}}}\n")
    done = composer("up", "-d", "--locked", code=1)
    assert "cannot find " in done.err
    assert "composer.lock\nRun `composer lock` to write it." in done.err
    composer.write({"composer.lock": '{"version": 1, "images": {}}'})
    done = composer("up", "-d", "--locked", "web", code=1)
    assert f"service web: composer.lock has no entry for the image {image}: run `composer lock`" in done.err
    assert not composer.ps()
    composer.write({"composer.lock": '{"version": 2}'})
    assert "has version 2; this composer reads version 1" in composer("pull", "--locked", code=1).err
    composer.write({"composer.lock": "{"})
    assert "Run `composer lock` to write it again." in composer("create", "--locked", code=1).err


def test_an_image_that_only_this_machine_has_is_locked_by_its_id(composer):
    composer.write(compose="services: {web: {image: busybox, command: [sleep, '1000'], init: true}}\n")
    composer("lock")
    lock = lock_of(composer)
    assert lock["images"] == {} and lock["local_images"].keys() == {"busybox:latest"}
    assert "Skipped Image is already present locally" in composer("pull", "--locked").err
    composer("up", "-d", "--locked")
    assert composer.ps()["web"][0]["State"] == "running"
    composer("down")
    lock["local_images"]["busybox:latest"] = absent = "sha256:" + "0" * 64
    composer.write({"composer.lock": json.dumps(lock)})
    done = composer("up", "-d", "--locked", code=1)
    assert f"service web: cannot pull {absent}: no registry has an image by its id" in done.err
    for wrong in ("other/image:1", "sha256:0", f"{absent}\n"):
        lock["local_images"]["busybox:latest"] = wrong
        composer.write({"composer.lock": json.dumps(lock)})
        assert "composer.lock: Expected `str` matching regex" in composer("up", "--locked", code=1).err


def test_builds_fetch_only_what_is_locked(composer, publish, website):
    folder, url = website
    (folder / "data").write_text("one")
    image = publish("team/base:1", "first")
    dockerfile = f"ARG NAME=data\nFROM {image} AS base\nARG NAME\nADD {url}/${{NAME}} /data\n"
    composer.write(
        {"app/Dockerfile": f"{dockerfile}FROM base\nRUN cat /data /content > /both\n"},
        compose="services: {web: {build: app, init: true, command: [sleep, '1000']}}\n",
    )
    composer("lock")
    lock = lock_of(composer)
    assert lock["images"].keys() == {image}
    assert lock["files"].keys() == {f"{url}/data"}
    publish("team/base:1", "second")
    composer("build", "--locked")
    composer("up", "-d", "--locked")
    assert composer("exec", "-T", "web", "cat", "/both").out == "onefirst"
    (folder / "data").write_text("two")
    done = composer("build", "--locked", code=1)
    assert "digest mismatch" in done.err
    composer.write({"app/Dockerfile": "FROM elsewhere.example/unknown\n"})
    done = composer("up", "-d", "--build", "--locked", code=1)
    assert "composer.lock has no entry for elsewhere.example/unknown:latest" in done.err
    composer("down", "--rmi", "all")


def test_compose_files_and_contexts_of_repositories(composer, tmp_path):
    folder = tmp_path / "stack"
    folder.mkdir()

    def git(*words):
        who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
        subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)

    def version(text):
        (folder / "compose.yaml").write_text(f"services: {{web: {{image: busybox, labels: {{is: '{text}'}}}}}}\n")
        (folder / "Dockerfile").write_text(f"FROM busybox\nLABEL is={text}\n")
        git("add", "-A")
        git("commit", "-m", text)

    git("init", "-b", "trunk")
    version("first")
    composer.environ |= {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{folder}.insteadOf",
        "GIT_CONFIG_VALUE_0": REPOSITORY,
        "XDG_CACHE_HOME": f"{tmp_path}/cache",
    }
    composer.write(
        compose=f"include: ['{REPOSITORY}#trunk']\nservices: {{built: {{image: own/built, build: '{REPOSITORY}'}}}}\n"
    )
    composer("lock")
    assert lock_of(composer)["files"].keys() == {f"{REPOSITORY}#trunk", REPOSITORY}
    version("second")
    composer("create", "--locked", "-y")
    (one,) = json.loads(composer("container", "inspect", f"{composer.name}-web-1").out)
    assert one["Config"]["Labels"]["is"] == "first"
    (image,) = json.loads(composer("image", "inspect", "own/built").out)
    assert image["Config"]["Labels"]["is"] == "first"
    composer.write({"composer.lock": '{"version": 1, "local_images": {"busybox:latest": "sha256:' + "0" * 64 + '"}}'})
    assert f"composer.lock has no entry for {REPOSITORY}#trunk" in composer("create", "--locked", "-y", code=1).err
    composer("create", "-y")
    (one,) = json.loads(composer("container", "inspect", f"{composer.name}-web-1").out)
    assert one["Config"]["Labels"]["is"] == "second"
    composer("down", "--rmi", "local")
