"""Builds through the classic builder's endpoint."""

import gzip
import io
import json
import os
import select
import tarfile
import urllib.parse

from tests.serve.test_buildkit_results import running

DOCKERFILE = """# a comment
FROM busybox AS one
ARG WHO=nobody
RUN echo hello \\
  $WHO > /who
FROM one
COPY a /a
CMD ["cat", "/who"]
"""


def context(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def post(api, content, **options):
    """(status, the lines of the answer)."""
    query = urllib.parse.urlencode({k: v if isinstance(v, str) else json.dumps(v) for k, v in options.items()})
    with api.connect() as sock:
        head = f"POST /build?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(content)}\r\n"
        sock.sendall(f"{head}Content-Type: application/x-tar\r\n\r\n".encode() + content)
        import http.client

        answer = http.client.HTTPResponse(sock)
        answer.begin()
        return answer.status, [json.loads(line) for line in answer.read().splitlines()]


def test_steps_and_the_image(api):
    files = gzip.compress(context(Dockerfile=DOCKERFILE, a="A"))
    status, lines = post(api, files, t="made/classic:1", buildargs={"WHO": "world"}, labels={"l": "1"}, ulimits=None)
    said = "".join(line.get("stream", "") for line in lines)
    assert status == 200
    steps = [" ".join(line.split()) for line in said.splitlines() if line.startswith("Step")]
    assert steps == [
        "Step 1/6 : FROM busybox AS one",
        "Step 2/6 : ARG WHO=nobody",
        "Step 3/6 : RUN echo hello $WHO > /who",
        "Step 4/6 : FROM one",
        "Step 5/6 : COPY a /a",
        'Step 6/6 : CMD ["cat", "/who"]',
    ]
    assert said.endswith("Successfully tagged made/classic:1\n")
    assert "writing image" not in said and "naming to" not in said
    image = api.get("/images/made/classic:1/json")
    assert [line["aux"]["ID"] for line in lines if "aux" in line] == [image["Id"]]
    assert image["Config"]["Labels"]["l"] == "1"


def test_failures(api):
    status, lines = post(api, context(Dockerfile="FROM busybox\nRUN exit 3\n"))
    assert (status, lines[-1]["error"]) == (200, "The command '/bin/sh -c exit 3' returned a non-zero code: 3")
    assert lines[-1]["errorDetail"]["code"] == 3
    status, lines = post(api, context(Dockerfile="FROM busybox\nNOSUCH x\n"))
    assert (status, lines) == (400, [{"message": "dockerfile parse error on line 2: unknown instruction: NOSUCH"}])
    status, lines = post(api, context(Dockerfile="FROM busybox\nCOPY absent /\n"))
    assert lines[-1]["error"].endswith("stat absent: file does not exist")
    assert post(api, context(Dockerfile="FROM busybox\n"), dockerfile="../x")[0] == 400
    assert post(api, b"this is no archive" * 100)[0] in (400, 500)


def begun(api, content, length):
    """A build request of which only `content` has been sent."""
    sock = api.connect()
    head = f"POST /build?nocache=1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: {length}\r\n\r\n"
    sock.sendall(head.encode() + content)
    return sock


def test_disconnected_client_leaves_no_files(api, roots):
    """During its upload, and during a step without output."""
    content = context(Dockerfile="FROM busybox\nRUN sleep 87654\n")
    before = set(os.listdir(roots.builds))

    def uploads():
        return {name for name in os.listdir(roots.builds) if name.startswith(".temporary-")} - before

    sock = begun(api, content[:512], 10**9)
    while not uploads():
        pass
    sock.close()
    while uploads():
        pass
    sock = begun(api, content, len(content))
    while not (steps := running("sleep 87654")):
        pass
    sock.close()
    for pid in steps:
        select.select([os.pidfd_open(pid)], [], [], 30)
    while uploads():
        pass
    assert running("sleep 87654") == []


def test_stderr_of_steps_is_red(api):
    _, lines = post(api, context(Dockerfile="FROM busybox\nRUN echo plain; echo wrong >&2\n"), nocache="1")
    said = [line["stream"] for line in lines if "stream" in line]
    assert "plain\n" in said and "\x1b[91mwrong\n\x1b[0m" in said


def test_steps_reach_the_containers_of_their_network_by_name(api):
    api("POST", "/networks/create", {"Name": "build-net"})
    ends = {"EndpointsConfig": {"build-net": {"Aliases": ["neighbour"]}}}
    body = {"Image": "busybox", "Cmd": ["sleep", "100"], "NetworkingConfig": ends}
    one = api("POST", "/containers/create?name=near", {**body, "HostConfig": {"NetworkMode": "build-net"}})["Id"]
    api("POST", f"/containers/{one}/start")
    files = context(Dockerfile="FROM busybox\nRUN ping -c 1 -W 5 neighbour && ping -c 1 -W 5 near\n")
    _, lines = post(api, files, networkmode="build-net", t="made/near")
    api("DELETE", f"/containers/{one}?force=1")
    api("DELETE", "/networks/build-net")
    assert "error" not in lines[-1], lines
    status, lines = post(api, files, networkmode="no-such-net")
    assert (status, lines) == (404, [{"message": "network no-such-net not found"}])
