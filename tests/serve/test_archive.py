"""Files in and out of containers through the Docker API."""

import base64
import io
import json
import tarfile

from tests.serve.test_images import send
from tests.serve.test_lifecycle import make

__all__ = ["make"]


def archive(**files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.uid = len(text), 1000
            tar.addfile(entry, io.BytesIO(text))
    return buffer.getvalue()


def put(api, path, data):
    status, _ = send(api, path, data, method="PUT")
    return status


def test_files_in_and_out(api, make):
    make("sleep", "1000", name="api-files")
    api.raw("POST", "/containers/api-files/start")
    assert put(api, "/containers/api-files/archive?path=/root", archive(a=b"hello")) == 200
    status, headers, content = api.raw("GET", "/containers/api-files/archive?path=/root/a")
    found = json.loads(base64.b64decode(headers["X-Docker-Container-Path-Stat"]))
    assert (status, found["name"], found["size"], found["linkTarget"]) == (200, "a", 5, "")
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        (entry,) = tar.getmembers()
        assert (entry.name, entry.uid, tar.extractfile(entry).read()) == ("a", 1000, b"hello")
    _, headers, _ = api.raw("HEAD", "/containers/api-files/archive?path=/bin/sh")
    found = json.loads(base64.b64decode(headers["X-Docker-Container-Path-Stat"]))
    assert (found["linkTarget"], found["mode"] >> 27 & 1) == ("/bin/busybox", 1)
    _, headers, _ = api.raw("HEAD", "/containers/api-files/archive?path=/tmp")
    found = json.loads(base64.b64decode(headers["X-Docker-Container-Path-Stat"]))
    assert found["mode"] == 1 << 31 | 1 << 20 | 0o777
    names = tarfile.open(fileobj=io.BytesIO(api.raw("GET", "/containers/api-files/export")[2])).getnames()
    assert {"root/a", "bin/busybox"} <= {name.removeprefix("./") for name in names}


def test_wrong_paths_are_refused_before_anything_is_sent(api, make):
    make("true", name="api-wrong")
    place = "/containers/api-wrong/archive"
    assert api.refused("GET", place) == (400, "bad parameter: path cannot be empty")
    assert api.refused("GET", f"{place}?path=/nosuch") == (
        404,
        "Could not find the file /nosuch in container api-wrong",
    )
    assert put(api, f"{place}?path=/etc/passwd", archive(a=b"")) == 400
    assert put(api, f"{place}?path=/nosuch", archive(a=b"")) == 404
    assert put(api, f"{place}?path=/root", b"no archive at all") in (400, 500)


def test_commit(api, make):
    make("sh", "-c", "echo x > /made", name="api-commit")
    api.raw("POST", "/containers/api-commit/start")
    api("POST", "/containers/api-commit/wait")
    body = {
        "Cmd": ["a b", "c"],
        "Env": ['Q=x "$HOME" \\n'],
        "Labels": {"l": "1"},
        "User": "nobody",
        "Healthcheck": {"Test": ["NONE"]},
    }
    found = api("POST", "/commit?container=api-commit&repo=api/made&tag=1&comment=why&changes=ENV%20A=b", body)
    image = api.get("/images/api/made:1/json")
    assert image["Id"] == found["Id"]
    assert image["Parent"] == api.get("/containers/api-commit/json")["Image"]
    config = image["Config"]
    assert (image["Comment"], config["Env"][-2:]) == ("why", ['Q=x "$HOME" \\n', "A=b"])
    assert (config["Cmd"], config["Labels"]["l"], config["User"]) == (["a b", "c"], "1", "nobody")
    assert config["Healthcheck"]["Test"] == ["NONE"]
    api("DELETE", "/images/api/made:1")


def test_a_hostile_archive_stays_inside(api, make, tmp_path):
    """CVE-2018-15664 and its class: names and links that lead to a file of the host, in the archive or in the path."""
    make("sh", "-c", f"mkdir -p /box && ln -s {tmp_path} /out && exec sleep 1000", name="api-hostile")
    api.raw("POST", "/containers/api-hostile/start")
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    up = "../" * 30 + str(tmp_path).lstrip("/")
    link, hard = tarfile.SYMTYPE, tarfile.LNKTYPE
    attacks = [
        [(f"{up}/new", None, "")],
        [(f"{tmp_path}/new", None, "")],
        [("l", link, str(tmp_path)), ("l/new", None, ""), ("l/secret", None, "")],
        [("m", link, up), ("m/new", None, ""), ("m/secret", None, "")],
        [("n", link, f"/proc/1/root{tmp_path}"), ("n/new", None, "")],
        [("o", link, "/proc/self/cwd"), (f"o/{up}/new", None, "")],
        [("s", link, str(secret)), ("s", None, "")],
        [("h", hard, str(secret)), ("h", None, "")],
        [("i", hard, f"{up}/secret"), ("i", None, "")],
        [("x", link, str(secret)), ("y", hard, "x"), ("y", None, "")],
    ]
    for entries in attacks:
        for place in ("/box", "/out", "/", f"/proc/1/root{tmp_path}", "/proc/self/fd/0", "/box/../../../.."):
            _, said = send(api, f"/containers/api-hostile/archive?path={place}", hostile(entries), method="PUT")
            assert b"internal error" not in said and b"[Errno" not in said
            assert [path.name for path in tmp_path.iterdir()] == ["secret"], (entries, place)
            assert secret.read_text() == "of the host" and secret.stat().st_nlink == 1, (entries, place)
    for place in (
        "/out/secret",
        "/box/h",
        "/box/s",
        "/box/y",
        f"/proc/1/root{secret}",
        f"/proc/self/cwd/{up}/secret",
        secret,
    ):
        _, _, content = api.raw("GET", f"/containers/api-hostile/archive?path={place}")
        assert b"of the host" not in content, place


def hostile(entries):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, target in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode = kind or tarfile.REGTYPE, target, 0o777
            entry.size = 0 if kind else 5
            tar.addfile(entry, io.BytesIO(b"taken"))
    return buffer.getvalue()
