import functools
import http.server
import io
import json
import os
import subprocess
import tarfile
import threading

import pytest

from engine.errors import BuildFailed, EngineError


@pytest.fixture
def website(tmp_path):
    """Serves the folder `site`; returns the folder and its address."""
    site = tmp_path / "site"
    site.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield site, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_archive_and_a_dockerfile(builder, base, website, images, monkeypatch):
    monkeypatch.setattr("engine.build.digests._SETTLED", -(10**12))  # every file is old enough to be remembered
    site, address = website
    with tarfile.open(site / "context.tar.gz", "w:gz") as tar:
        for name, text in {
            "Dockerfile": b"FROM base\nCOPY d /d\n",
            "d/f": b"f",
            ".dockerignore": b"d/x\n",
            "d/x": b"x",
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    tree = builder.tree(builder("", dockerfile_inline=None, context=f"{address}/context.tar.gz"))
    assert (tree["d/f"], "d/x" in tree) == ("f", False)
    (site / "plain").write_text("FROM base\nLABEL a=plain\n")
    assert builder("", dockerfile_inline=None, context=f"{address}/plain").config.labels == {"a": "plain"}
    left = os.listdir(f"{images.store.roots.cache}/build")
    assert [name for name in left if name.startswith((".", "digests-"))] == []
    with pytest.raises(BuildFailed, match="answered 404"):
        builder("", dockerfile_inline=None, context=f"{address}/gone")


def test_named_contexts_from_elsewhere(builder, base, website, tmp_path):
    site, address = website
    with tarfile.open(site / "more.tar", "w") as tar:
        info = tarfile.TarInfo("in/tar")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"t"))
    (site / "one").write_text("1")
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "deep").mkdir()
    (repository / "deep/file").write_text("g")
    who = ("-c", "user.name=me", "-c", "user.email=me@example.org", "-c", "init.defaultBranch=main")
    for words in (("init",), ("add", "-A"), ("commit", "-m", "x"), ("update-server-info",)):
        subprocess.run(["git", *who, *words], cwd=repository, check=True, capture_output=True)
    (site / "r.git").symlink_to(repository / ".git")
    contexts = {"tar": f"{address}/more.tar", "one": f"{address}/one", "git": f"{address}/r.git#main:deep"}
    text = "FROM base\n" + "".join(f"COPY --from={name} / /{name}/\n" for name in contexts)
    tree = builder.tree(builder(text, additional_contexts=contexts))
    assert (tree["tar/in/tar"], tree["one/one"], tree["git/file"]) == ("t", "1", "g")
    builder("FROM base\nCOPY f /\n", files={"f": ""}, additional_contexts={"unused": f"{address}/gone"})


@pytest.fixture
def layout(builder, base, images, tmp_path):
    """An image, as an OCI layout in a folder; it is no longer in the store."""
    from engine.image import gc
    from engine.image.archive.saving import save

    record = builder("FROM base\nCOPY f /from-layout\nENV A=1\n", files={"f": "f"}, tags=("own/image:7",))
    out = io.BytesIO()
    save(images, ["own/image:7"], out)
    out.seek(0)
    folder = tmp_path / "layout"
    with tarfile.open(fileobj=out) as tar:
        tar.extractall(folder, filter="tar")
    images.remove("own/image:7")
    images.store.db.execute("DELETE FROM build_cache")
    gc.collect(images)
    return folder, record


def test_an_image_in_a_layout(builder, layout, images):
    folder, record = layout
    index = json.loads((folder / "index.json").read_text())
    (one,) = index["manifests"]
    index["manifests"] = [{**one, "annotations": {"org.opencontainers.image.ref.name": "7"}}]
    (folder / "index.json").write_text(json.dumps(index))
    for form in (f"{folder}:7", f"{folder}@{one['digest']}", f"{folder}"):
        contexts = {"named": f"oci-layout://{form}"}
        built = builder("FROM named\nCOPY --from=named /from-layout /again\n", additional_contexts=contexts)
        assert builder.tree(built)["again"] == "f"
        assert "A=1" in built.config.environment
        assert images.get(record.id) is None
    for form, problem in ((f"{folder}:8", "7"), ("/nowhere", "nowhere"), ("", "expected oci-layout://PATH")):
        if form.endswith(":8"):
            index["manifests"].append({**one, "annotations": {"org.opencontainers.image.ref.name": "6"}})
            (folder / "index.json").write_text(json.dumps(index))
            problem = ":8"
        with pytest.raises(EngineError, match=problem):
            builder("FROM named\n", additional_contexts={"named": f"oci-layout://{form}"})


def test_a_layout_that_was_changed(builder, layout):
    folder, _ = layout
    for path in (folder / "blobs/sha256").iterdir():
        if not path.read_bytes().startswith(b"{"):
            path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(EngineError):
        builder("FROM named\n", additional_contexts={"named": f"oci-layout://{folder}"})
