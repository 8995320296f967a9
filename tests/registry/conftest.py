"""Registries on loopback, in the network namespace of the test session."""

import contextlib
import gzip
import hashlib
import http.server
import io
import json
import socket
import subprocess
import tarfile
import threading
import time

import pytest

from engine.image import manifest
from engine.image.images import ImageStore
from engine.image.importing import import_rootfs
from engine.paths import Roots
from engine.store import Store
from tests.scenario import certificates

SECRET_HASH = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
"""bcrypt of `secret`."""


@pytest.fixture(autouse=True)
def no_login(tmp_path, monkeypatch):
    """Ignore the user's own credentials and proxies."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def images(tmp_path):
    store = Store(Roots(str(tmp_path / "state"), str(tmp_path / "run")))
    yield ImageStore(store)
    store.close()


@pytest.fixture
def other_images(tmp_path):
    """The store of another machine."""
    store = Store(Roots(str(tmp_path / "other"), str(tmp_path / "run")))
    yield ImageStore(store)
    store.close()


def wait_for_port(port, process):
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert process.poll() is None, "the registry ended"
            time.sleep(0.02)


@pytest.fixture
def start_registry(tmp_path):
    """Start the distribution project's registry; returns host:port."""
    with registries(tmp_path) as start:
        yield start


@contextlib.contextmanager
def registries(top):
    started = []

    def start(port=5000, *, auth=False, certificate=None):
        folder = top / f"registry-{port}"
        folder.mkdir()
        (folder / "htpasswd").write_text(f"tester:{SECRET_HASH}\n")
        config = f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
        tls = f", tls: {{certificate: {certificate[0]}, key: {certificate[1]}}}" if certificate else ""
        config += f"http: {{addr: '127.0.0.1:{port}'{tls}}}\n"
        if auth:
            config += f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n"
        (folder / "config.yml").write_text(config)
        log = open(folder / "log", "wb")
        process = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log)
        started.append(process)
        log.close()
        wait_for_port(port, process)
        return f"localhost:{port}"

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    return certificates.make(folder, "registry.test", "-addext", "subjectAltName=DNS:registry.test")


@pytest.fixture
def serve():
    """Run an HTTP handler class in threads of this namespace; returns host:port."""
    servers = []

    def start(handler, port=0):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        servers.append((server, thread))
        return f"127.0.0.1:{server.server_address[1]}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def rootfs(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Content:
    """The content of a registry: manifests and blobs by digest or tag, which tests may tamper with."""

    def __init__(self, layer=None, *, diff_id=None, compressed=None):
        tar = rootfs(a=b"hello" * 10_000) if layer is None else layer
        self.layer = gzip.compress(tar) if compressed is None else compressed
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [diff_id or digest(tar)]},
        }
        self.config = json.dumps(config).encode()
        self.blobs = {digest(self.config): self.config, digest(self.layer): self.layer}
        body = {
            "schemaVersion": 2,
            "mediaType": manifest.OCI_MANIFEST,
            "config": {"mediaType": manifest.OCI_CONFIG, "digest": digest(self.config), "size": len(self.config)},
            "layers": [
                {"mediaType": f"{manifest.OCI_LAYER}+gzip", "digest": digest(self.layer), "size": len(self.layer)}
            ],
        }
        self.manifest = json.dumps(body).encode()


@pytest.fixture
def make():
    """Import an image with these files."""

    def make(images, tag, **files):
        return import_rootfs(images, io.BytesIO(rootfs(**(files or {"a": b"1"}))), tags=[tag])

    return make


@pytest.fixture
def content(request):
    """An image as a registry serves it; the parameter names its defect."""
    wrong = getattr(request, "param", "")
    if wrong == "diff_id":
        return Content(diff_id="sha256:" + "0" * 64)
    if wrong == "bomb":
        return Content(rootfs(zeros=bytes(32 << 20)))
    if wrong == "garbage":
        return Content(b"no archive " * 1000)
    if wrong == "escape":
        return Content(rootfs(**{"../../escape": b"x"}))
    return Content()
