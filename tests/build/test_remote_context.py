import functools
import http.server
import io
import os
import tarfile
import threading

import pytest

from engine.errors import BuildFailed


@pytest.fixture
def website(tmp_path):
    """Serves the folder `site`; gives it with its address."""
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


def test_an_archive_and_a_dockerfile(builder, base, website, images):
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
    assert [name for name in os.listdir(f"{images.store.roots.cache}/build") if name.startswith(".")] == []
    with pytest.raises(BuildFailed, match="answered 404"):
        builder("", dockerfile_inline=None, context=f"{address}/gone")
