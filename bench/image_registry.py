"""The registry of bench/images.py, and the image that it offers for pulls."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

import zstandard
from compose import write

LAYERS = 4
"""Layers of a pulled image."""
OCI = "application/vnd.oci.image."


@contextlib.contextmanager
def registry(top: Path) -> Iterator[str]:
    """Run an empty registry. Returns its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    program = shutil.which("docker-registry") or shutil.which("registry") or sys.exit("docker-registry is needed")
    file = (
        write(
            top / "registry",
            "config.yml",
            f"""version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {top}/registry/data}}}}
http: {{addr: '{address}'}}
""",
        )
        / "config.yml"
    )
    with subprocess.Popen(
        [program, "serve", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(tuple(address.split(":"))):  # type: ignore[arg-type]
                    break
                time.sleep(0.05)
            yield address
        finally:
            process.terminate()


def publish(address: str, top: Path, megabytes: int) -> None:
    """Push the same image to the registry twice, with gzip and with zstd layers."""
    plain = list(tars(top, megabytes))
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(path.read_bytes()) for path in plain]},
        }
    ).encode()
    for kind in ("gzip", "zstd"):
        layers = []
        for path in plain:
            data = path.read_bytes()
            packed = zstandard.compress(data, 3) if kind == "zstd" else _gzip(data)
            layers.append(_blob(address, f"pulled-{kind}", f"{OCI}layer.v1.tar+{kind}", packed))
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}manifest.v1+json",
            "config": _blob(address, f"pulled-{kind}", f"{OCI}config.v1+json", config),
            "layers": layers,
        }
        body = json.dumps(manifest).encode()
        _send(f"http://{address}/v2/pulled-{kind}/manifests/1", "PUT", body, manifest["mediaType"])  # type: ignore[arg-type]
    for path in plain:
        path.unlink()


def tars(top: Path, megabytes: int) -> Iterator[Path]:
    """LAYERS tar archives of files below /usr, with that total size."""
    files = (
        os.path.join(folder, name)
        for start in ("/usr/lib", "/usr/share", "/usr/bin")
        for folder, _, names in sorted(os.walk(start))
        for name in sorted(names)
    )
    for number in range(LAYERS):
        path, left = top / f"layer{number}.tar", megabytes * 1_000_000 // LAYERS
        with tarfile.open(path, "w") as tar:
            # An interrupted run may have left the layers of an image with a daemon.
            tar.addfile(tarfile.TarInfo(f"run{time.time_ns()}"))
            while left > 0 and (name := next(files, None)):
                status = os.lstat(name)
                if status.st_size < left + 1_000_000:
                    with contextlib.suppress(OSError):
                        tar.add(name)
                    left -= status.st_size + 1024
        yield path


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _gzip(data: bytes) -> bytes:
    deflate = zlib.compressobj(6, zlib.DEFLATED, 31)
    return deflate.compress(data) + deflate.flush()


def _blob(address: str, name: str, media_type: str, data: bytes) -> dict[str, object]:
    begun = _send(f"http://{address}/v2/{name}/blobs/uploads/", "POST", b"", "")
    _send(f"{begun}&digest={digest(data)}", "PUT", data, "application/octet-stream")
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def _send(url: str, method: str, data: bytes, media_type: str) -> str:
    request = urllib.request.Request(url, data, {"Content-Type": media_type}, method=method)
    with urllib.request.urlopen(request) as answer:
        return str(answer.headers.get("Location", ""))
