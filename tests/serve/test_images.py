"""Images pulled, pushed, saved and loaded by a client of the Docker API."""

import io
import json
import tarfile
from urllib.parse import quote

import msgspec

from engine.image import attached
from engine.image.attached import Attached, Attestation


def lines(content):
    return [json.loads(line) for line in content.splitlines() if line.strip()]


def send(api, path, data, media="application/x-tar", method="POST"):
    """A body that is not JSON."""
    connection = api.connect()
    lines = (
        f"{method} {path} HTTP/1.1",
        "Host: x",
        f"Content-Type: {media}",
        f"Content-Length: {len(data)}",
        "Connection: close",
    )
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + data)
    answer = connection.makefile("rb").read()
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        whole, rest = b"", body
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            whole += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        body = whole
    return int(head.split()[1]), body


def test_push_and_pull(api, registry):
    name = f"{registry}/api/p"
    api.raw("POST", f"/images/busybox/tag?repo={name}&tag=1")
    _, _, content = api.raw("POST", f"/images/{name}/push?tag=1")
    told = lines(content)
    assert told[0] == {"status": f"The push refers to repository [{name}]"}
    (aux,) = [line["aux"] for line in told if "aux" in line]
    assert (aux["Tag"], aux["Digest"][:7]) == ("1", "sha256:")
    image = api.get(f"/images/{name}:1/json")
    assert f"{name}@{aux['Digest']}" in image["RepoDigests"]
    _, headers, content = api.raw("POST", f"/images/create?fromImage={name}&tag=1")
    assert headers["Content-Type"] == "application/json"
    assert [line["status"] for line in lines(content)][-2:] == [
        f"Digest: {aux['Digest']}",
        f"Status: Image is up to date for {name}:1",
    ]
    api("DELETE", f"/images/{name}:1")
    status, message = api.refused("POST", f"/images/create?fromImage={name}&tag=nosuch")
    assert status == 404 and "manifest" in message
    assert api.refused("POST", "/images/create?fromImage=127.0.0.1:1/x&tag=1")[0] == 500
    assert "does not exist locally" in lines(api.raw("POST", f"/images/{registry}/no/push?tag=1")[2])[-1]["error"]


def test_save_and_load(api):
    api.raw("POST", "/images/busybox/tag?repo=api/saved&tag=1")
    _, headers, archive = api.raw("GET", "/images/api/saved:1/get")
    assert headers["Content-Type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        names = set(tar.getnames())
    assert {"manifest.json", "index.json", "oci-layout"} <= names
    api("DELETE", "/images/api/saved:1")
    status, content = send(api, "/images/load", archive)
    assert (status, lines(content)) == (200, [{"stream": "Loaded image: api/saved:1\n"}])
    api("DELETE", "/images/api/saved:1")
    status, content = send(api, "/images/load", b"no archive")
    assert status == 200 and "errorDetail" in lines(content)[-1]
    assert api.refused("GET", "/images/nosuch/get")[0] == 404
    assert api.get("/images/busybox/attestations") == []


def test_statements_about_an_image(api, roots):
    image = api.get("/images/busybox/json")["Id"]
    kind = "https://slsa.dev/provenance/v1"
    attached.write(roots, image, Attached(attestations=(Attestation(kind, msgspec.Raw(b'{"a":1}')),)))
    try:
        (found,) = api.get("/images/busybox/attestations")
        assert (found["PredicateType"], found["Descriptor"]["mediaType"]) == (kind, "application/vnd.in-toto+json")
        assert "Statement" not in found
        (whole,) = api.get(f"/images/busybox/attestations?statement=true&type={kind}")
        assert whole["Statement"]["predicate"] == {"a": 1}
        assert whole["Descriptor"]["size"] > 100
        assert api.get("/images/busybox/attestations?type=other") == []
    finally:
        attached.write(roots, image, Attached())


def test_one_platform_of_an_image(api):
    other = quote('{"os": "linux", "architecture": "s390x"}')
    for path in (
        "/images/busybox/json",
        "/images/busybox/history",
        "/images/busybox/get",
        "/images/busybox/attestations",
    ):
        status, message = api.refused("GET", f"{path}?platform={other}")
        assert status == 404 and "does not match the specified platform" in message
    assert api.refused("GET", "/images/busybox/json?platform=" + quote('{"os":'))[0] == 400
    own = api.get("/images/busybox/json")
    text = quote(json.dumps({"os": own["Os"], "architecture": own["Architecture"]}))
    assert api.get(f"/images/busybox/json?platform={text}") == own


def test_a_root_file_system_is_imported(api):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("file")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"hello"))
    path = "/images/create?fromSrc=-&repo=api/imported&tag=2&changes=CMD%20/file&message=why"
    status, content = send(api, path, buffer.getvalue())
    assert status == 200
    image = api.get("/images/api/imported:2/json")
    assert lines(content) == [{"status": image["Id"]}]
    assert image["Config"]["Cmd"] == ["/bin/sh", "-c", "/file"]
    api("DELETE", "/images/api/imported:2")
