"""A build as buildx requests it: /grpc and /session over h2c, the context and the secret sent over the session."""

import json
import os
import stat

import anyio
import pytest

from composer.serve.buildkit import wire
from composer.serve.buildkit.files import Entry, _Tree
from composer.serve.buildkit.grpc import Call, Failed, Peer
from composer.serve.http.errors import ClientGone

BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"
CONTROL = "/moby.buildkit.v1.Control/"


class Stream:
    """The raw stream of an upgraded connection, from the client's side."""

    def __init__(self, stream):
        self._stream = stream

    async def receive(self):
        try:
            return await self._stream.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            return b""

    async def send(self, data):
        try:
            await self._stream.send(data)
        except anyio.BrokenResourceError:
            raise ClientGone from None


async def upgraded(path, target, *headers):
    stream = await anyio.connect_unix(path)
    lines = [f"POST {target} HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: h2c", *headers, "", ""]
    await stream.send("\r\n".join(lines).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += await stream.receive(1)
    assert answer.startswith(b"HTTP/1.1 101"), answer
    return Stream(stream)


class Client:
    """What buildx does: offers files and secrets, and builds."""

    def __init__(self, folders, secrets):
        self.folders, self.secrets, self.ref = folders, secrets, "r1"

    async def offer(self, call: Call):
        if call.path.endswith("GetSecret"):
            name = wire.text(wire.fields(await call.receive()), 1)
            if name not in self.secrets:
                raise Failed(5, f"secret {name}: not found")
            await call.send(wire.message((1, self.secrets[name])))
            return
        assert call.path == "/moby.filesync.v1.FileSync/DiffCopy"
        files = self.folders[call.metadata["dir-name"]]
        if wanted := [value for name, value in call.headers if name == "followpaths"]:
            files = {name: content for name, content in files.items() if name in wanted}
        names = list(files)
        for name in names:
            await call.send(wire.message((1, 0)) + wire.block(2, wire.message((1, name), (2, 0o644))))
        await call.send(wire.message((1, 0)) + wire.block(2, b""))
        while True:
            packet = wire.fields(await call.receive())
            if wire.number(packet, 1) == 3:
                await call.send(wire.message((1, 3)))
                return
            number = wire.number(packet, 3)
            await call.send(wire.message((1, 2), (3, number), (4, files[names[number]])))
            await call.send(wire.message((1, 2), (3, number)))

    async def build(self, path, options, tag):
        """(the exporter's answer, names of the vertices)."""
        async with anyio.create_task_group() as tasks:
            session = Peer(await upgraded(path, "/session", "X-Docker-Expose-Session-Uuid: s1"), self.offer)
            grpc = Peer(await upgraded(path, "/grpc"))
            tasks.start_soon(session.run)
            tasks.start_soon(grpc.run)
            names = []

            async def follow():
                call = await grpc.call(f"{CONTROL}Status")
                await call.send(wire.message((1, self.ref)))
                await call.close()
                while (message := await call.receive()) is not None:
                    names.extend(wire.text(wire.fields(one), 3) for one in wire.blocks(wire.fields(message), 1))

            async def ask():
                build = [("buildkit-controlapi-buildid", self.ref)]
                await grpc.ask(f"{BRIDGE}Ping", b"", build)
                try:
                    asked = wire.message((2, "dockerfile.v0")) + wire.mapping(3, options)
                    await grpc.ask(f"{BRIDGE}Solve", asked, build)
                    await grpc.ask(f"{BRIDGE}Return", b"", build)
                except Failed as error:
                    await grpc.ask(
                        f"{BRIDGE}Return", wire.message((2, wire.message((1, 2), (2, error.message)))), build
                    )

            tasks.start_soon(follow)
            tasks.start_soon(ask)
            exporter = wire.block(13, wire.message((1, "moby")) + wire.mapping(2, {"name": tag}))
            try:
                answer = await grpc.ask(f"{CONTROL}Solve", wire.message((1, self.ref), (5, "s1")) + exporter)
                await anyio.sleep(0)
                return wire.strings(wire.fields(answer), 1), names
            finally:
                tasks.cancel_scope.cancel()


def built(api, client, options, tag="made/kit"):
    try:
        return anyio.run(client.build, api.path, options, tag)
    except* Failed as group:
        error = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise AssertionError(error.message) from None


DOCKERFILE = b"""FROM busybox
ARG WHO=nobody
RUN --mount=type=secret,id=s cat /run/secrets/s > /out; echo $WHO >> /out
COPY a big /d/
"""


def test_a_build_over_a_session(api):
    files = {"Dockerfile": DOCKERFILE, "a": b"A", "big": b"x" * 3_000_000}
    client = Client({"context": files, "dockerfile": files}, {"s": "hidden\n"})
    exported, names = built(api, client, {"build-arg:WHO": "kit", "label:l": "1"})
    assert exported["containerimage.config.digest"] == api.get("/images/made/kit/json")["Id"]
    assert api.get("/images/made/kit/json")["Config"]["Labels"]["l"] == "1"
    assert "[2/3] RUN --mount=type=secret,id=s cat /run/secrets/s > /out; echo $WHO >> /out" in names
    run = {"Image": "made/kit", "Cmd": ["sh", "-c", "cat /out; wc -c < /d/big"], "Tty": True}
    one = api("POST", "/containers/create", {**run, "HostConfig": {"NetworkMode": "none"}})["Id"]
    api.raw("POST", f"/containers/{one}/start")
    api("POST", f"/containers/{one}/wait")
    assert api.raw("GET", f"/containers/{one}/logs?stdout=1")[2] == b"hidden\r\nkit\r\n3000000\r\n"
    api.raw("DELETE", f"/containers/{one}")


def asked(api, *calls):
    """The messages that answer each call (path, message)."""

    async def ask():
        found = []
        async with anyio.create_task_group() as tasks:
            grpc = Peer(await upgraded(api.path, "/grpc"))
            tasks.start_soon(grpc.run)
            for path, message in calls:
                call = await grpc.call(path)
                await call.send(message)
                await call.close()
                answers = []
                while (answer := await call.receive()) is not None:
                    answers.append(wire.fields(answer))
                found.append(answers)
            tasks.cancel_scope.cancel()
        return found

    return anyio.run(ask)


def test_the_record_of_a_build(api):
    files = {"Dockerfile": b"FROM busybox\nARG A\nRUN echo $A said\n"}
    client = Client({"context": files, "dockerfile": files}, {})
    client.ref = "0123456789abcdefghijklmno"
    exported, _ = built(api, client, {"build-arg:A": "1", "filename": "Dockerfile"}, "made/recorded")
    assert exported["image.name"] == "docker.io/made/recorded"
    ((event,),) = asked(api, (f"{CONTROL}ListenBuildHistory", wire.message((2, client.ref), (3, 1))))
    record = wire.fields(event[2][0])
    assert (wire.text(record, 1), wire.number(record, 16), wire.number(record, 17)) == (client.ref, 3, 3)
    assert wire.strings(record, 3) == {"build-arg:A": "1", "filename": "Dockerfile"}
    statement = wire.fields(wire.fields(record[10][0])[2][0])
    digest, size = wire.text(statement, 2), wire.number(statement, 3)
    assert wire.strings(statement, 5) == {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
    content = "/containerd.services.content.v1.Content/"
    info, pieces, rest, status, _, after = asked(
        api,
        (f"{content}Info", wire.message((1, digest))),
        (f"{content}Read", wire.message((1, digest))),
        (f"{content}Read", wire.message((1, digest), (2, size - 5), (3, 3))),
        (f"{CONTROL}Status", wire.message((1, client.ref))),
        (f"{CONTROL}UpdateBuildHistory", wire.message((1, client.ref), (3, 1))),
        (f"{CONTROL}ListenBuildHistory", wire.message((3, 1))),
    )
    assert wire.number(wire.fields(info[0][1][0]), 2) == size == len(pieces[0][2][0])
    assert rest[0][2][0] == pieces[0][2][0][-5:-2]
    how = json.loads(pieces[0][2][0])
    assert how["invocation"]["configSource"]["entryPoint"] == "Dockerfile"
    assert b"/tmp/" not in pieces[0][2][0]
    logs = [wire.text(wire.fields(one), 4) for message in status for one in wire.blocks(message, 3)]
    assert "1 said\n" in logs
    assert client.ref not in [wire.text(wire.fields(one[2][0]), 1) for one in after]


@pytest.mark.parametrize("ref", ["nope", "../../etc/passwd", "0123456789abcdefghijklmn/"])
def test_a_record_that_does_not_exist(api, ref):
    for call in ("ListenBuildHistory", "UpdateBuildHistory"):
        number = 2 if call == "ListenBuildHistory" else 1
        with pytest.raises(ExceptionGroup) as failure:
            asked(api, (CONTROL + call, wire.message((number, ref))))
        assert failure.group_contains(Failed, match="no record found")


@pytest.mark.parametrize(
    ("dockerfile", "options", "words"),
    [
        (b"FROM busybox\nRUN exit 3\n", {}, 'process "/bin/sh -c exit 3" did not complete successfully: exit code: 3'),
        (b"FROM busybox\nCOPY absent /\n", {}, '"/absent": not found'),
        (b"FROM busybox\n", {"filename": "Other"}, "failed to read dockerfile: open Other: no such file"),
        (b"", {"filename": "../../../../../../etc/passwd"}, "etc/passwd: no such file"),
        (
            b"FROM busybox\n",
            {"context": "local:context", "context:x": "input:x"},
            "the request has no input for the context input:x",
        ),
    ],
)
def test_a_build_that_fails(api, dockerfile, options, words):
    files = {"Dockerfile": dockerfile}
    with pytest.raises(AssertionError) as failure:
        built(api, Client({"context": files, "dockerfile": files}, {}), options)
    assert words in str(failure.value)
    assert os.listdir(f"{os.path.dirname(api.path)}") != []


@pytest.mark.parametrize("name", ["../x", "/x", "a/../x", "link/x", "", "a//b"])
def test_files_of_a_client_stay_in_their_folder(tmp_path, name):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    tree = _Tree(str(inside))
    try:
        tree.make(0, Entry("link", 1 << 27, 0, str(outside), 0))
        from composer.serve.buildkit.files import _entry

        with pytest.raises((Failed, OSError)):
            tree.make(1, _entry(wire.message((1, name), (2, 0o644))))
    finally:
        tree.close()
    assert os.listdir(outside) == []
    assert stat.S_ISLNK(os.lstat(inside / "link").st_mode)


def test_messages_are_read_back():
    data = wire.message((1, "a"), (2, 300), (3, b"\0")) + wire.mapping(4, {"k": "v"})
    found = wire.fields(data)
    assert (wire.text(found, 1), wire.number(found, 2), wire.strings(found, 4)) == ("a", 300, {"k": "v"})
    for end in range(1, 5):
        if end != 3:
            with pytest.raises(wire.Malformed):
                wire.fields(data[:end])
