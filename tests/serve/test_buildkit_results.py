"""What a build over a session returns, requests, and leaves when its client disconnects."""

import base64
import io
import json
import os
import select
import socket
import tarfile

import anyio
import pytest

from composer.serve.buildkit import forward, wire
from composer.serve.buildkit.grpc import Failed, Peer
from tests.serve.test_buildkit import BRIDGE, CONTROL, Client, Stream, upgraded

BUILD = [("buildkit-controlapi-buildid", "r1")]
TREE = b"FROM busybox AS made\nRUN mkdir /d; echo hello > /d/f; ln /d/f /d/h; ln -s f /d/s; chmod 4755 /d/f\nFROM scratch\n"
TREE += b"COPY --from=made /d /d\n"


class Receiver(Client):
    """A client that receives results, has an SSH agent that echoes its input, and has credentials."""

    def __init__(self, dockerfile, **files):
        files = {"Dockerfile": dockerfile, **files}
        super().__init__({"context": files, "dockerfile": files}, {})
        self.results, self.asked = {}, []

    async def offer(self, call):
        if call.path == "/moby.filesync.v1.FileSend/DiffCopy":
            number = call.metadata["buildkit-attachable-exporter-id"]
            self.results[number] = await (self.files_of(call) if number == "0" else self.archive_of(call))
        elif call.path == "/moby.sshforward.v1.SSH/CheckAgent":
            await call.receive()
            await call.send(b"")
        elif call.path == "/moby.sshforward.v1.SSH/ForwardAgent":
            self.asked.append(call.metadata["buildkit.ssh.id"])
            while (data := await call.receive()) is not None:
                await call.send(data)
        elif call.path == "/moby.filesync.v1.Auth/Credentials":
            self.asked.append(wire.text(wire.fields(await call.receive()), 1))
            await call.send(wire.message((1, "user"), (2, "secret")))
        else:
            await super().offer(call)

    @staticmethod
    async def archive_of(call):
        data = b""
        while (message := await call.receive()) is not None:
            data += b"".join(wire.blocks(wire.fields(message), 1))
        return data

    @staticmethod
    async def files_of(call):
        """Name → (mode, link, content), as fsutil's receiver requests them."""
        names, found, waiting = [], {}, 0
        while True:
            packet = wire.fields(await call.receive())
            kind, number = wire.number(packet, 1), wire.number(packet, 3)
            if kind == 0 and (said := next(iter(wire.blocks(packet, 2)), b"")):
                status = wire.fields(said)
                names.append(wire.text(status, 1))
                mode = wire.number(status, 2)
                found[names[-1]] = [mode, wire.text(status, 7), b""]
                if not mode & (1 << 31 | 1 << 27):
                    await call.send(wire.message((1, 1), (3, len(names) - 1)))
                    waiting += 1
            elif kind == 2 and (content := next(iter(wire.blocks(packet, 4)), b"")):
                found[names[number]][2] += content
            elif kind == 2:
                waiting -= 1
                if not waiting:
                    await call.send(wire.message((1, 3)))
            elif not kind and not waiting:
                await call.send(wire.message((1, 3)))
            elif kind == 3:
                return found

    async def ask(self, path, options, *exporters, until=None):
        """Build; returns the metadata of the result. With `until` the client disconnects once a vertex of this name has
        begun."""
        async with anyio.create_task_group() as tasks:
            session = Peer(await upgraded(path, "/session", "X-Docker-Expose-Session-Uuid: s1"), self.offer)
            grpc = Peer(await upgraded(path, "/grpc"))
            tasks.start_soon(session.run)
            tasks.start_soon(grpc.run)

            done = anyio.Event()

            async def control():
                body = b"".join(
                    wire.block(13, wire.message((1, name)) + wire.mapping(2, given)) for name, given in exporters
                )
                await grpc.ask(f"{CONTROL}Solve", wire.message((1, "r1"), (5, "s1")) + body)
                done.set()

            async def go():
                call = await grpc.call(f"{CONTROL}Status")
                await call.send(wire.message((1, "r1")))
                await call.close()
                while (message := await call.receive()) is not None:
                    for vertex in wire.blocks(wire.fields(message), 1):
                        if until in wire.text(wire.fields(vertex), 3) and list(wire.blocks(wire.fields(vertex), 5)):
                            tasks.cancel_scope.cancel()

            tasks.start_soon(control)
            await grpc.ask(f"{BRIDGE}Ping", b"", BUILD)
            if until:
                tasks.start_soon(go)
            answer = await grpc.ask(
                f"{BRIDGE}Solve", wire.message((2, "dockerfile.v0")) + wire.mapping(3, options), BUILD
            )
            await grpc.ask(f"{BRIDGE}Return", b"", BUILD)
            await done.wait()
            tasks.cancel_scope.cancel()
            result = wire.fields(next(iter(wire.blocks(wire.fields(answer), 3))))
            return {wire.text(one, 1): one[2][0] for one in map(wire.fields, wire.blocks(result, 10))}


def asked(api, client, options=None, *exporters, **more):
    async def run():
        return await client.ask(api.path, options or {}, *exporters, **more)

    try:
        return anyio.run(run)
    except* Failed as group:
        error = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if "until" not in more:  # with it, the build was in progress when the client disconnected
            raise AssertionError(error.message) from None


def test_results_as_files_and_as_an_archive(api):
    before = {image["Id"] for image in api.get("/images/json?all=1")}
    client = Receiver(TREE)
    asked(api, client, {}, ("local", {}), ("tar", {}))
    files = client.results["0"]
    assert list(files) == ["d", "d/f", "d/h", "d/s"]
    assert files["d"][0] >> 31 == 1 and files["d/f"] == [0o755 | 1 << 23, "", b"hello\n"]
    assert files["d/h"][2] == b"hello\n" and files["d/s"][1:] == ["f", b""]
    with tarfile.open(fileobj=io.BytesIO(client.results["1"])) as archive:
        assert [member.name for member in archive] == ["d", "d/f", "d/h", "d/s"]
        assert archive.extractfile("d/h").read() == b"hello\n"
    assert {image["Id"] for image in api.get("/images/json?all=1")} == before


def test_a_result_without_files(api):
    client = Receiver(b"FROM scratch\nLABEL a=b\n")
    asked(api, client, {}, ("local", {}), ("tar", {}))
    assert client.results["0"] == {}
    with tarfile.open(fileobj=io.BytesIO(client.results["1"])) as archive:
        assert archive.getnames() == []


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("containerd", {}, "exporter 'containerd' is not supported here"),
        ("oci", {"tar": "false"}, "tar=false is not supported here for the exporter oci"),
        ("oci", {"compression": "estargz"}, "unsupported compression 'estargz': uncompressed, gzip, zstd"),
        ("image", {"push": "true"}, "tag is needed when pushing to registry"),
        ("image", {"push-by-digest": "true"}, "push-by-digest is not supported here: push the image by a tag"),
    ],
)
def test_an_exporter_that_is_not_there_is_refused_by_name(api, kind, options, message):
    with pytest.raises(AssertionError, match=message):
        asked(api, Receiver(b"FROM scratch\n"), {}, (kind, options))


def test_archives_of_an_image_for_several_platforms(api):
    client = Receiver(b"FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY a /\n", a=b"a")
    options = {"name": "docker.io/made/both:1", "annotation-index.k": "v", "compression": "gzip"}
    asked(api, client, {"platform": "linux/amd64,linux/arm64"}, ("moby", {}), ("oci", options))
    with tarfile.open(fileobj=io.BytesIO(client.results["1"])) as archive:

        def blob(descriptor):
            return json.load(archive.extractfile("blobs/" + descriptor["digest"].replace(":", "/")))

        (named,) = json.load(archive.extractfile("index.json"))["manifests"]
        assert named["annotations"]["io.containerd.image.name"] == "docker.io/made/both:1"
        index = blob(named)
    assert index["annotations"] == {"k": "v"}
    assert [one["platform"]["architecture"] for one in index["manifests"]] == ["amd64", "arm64"]


def test_files_of_an_image_for_several_platforms_are_refused(api):
    with pytest.raises(AssertionError, match="exporter 'tar' is not supported here for several platforms"):
        asked(api, Receiver(b"FROM scratch\nLABEL a=b\n"), {"platform": "linux/amd64,linux/arm64"}, ("tar", {}))


def test_an_archive_for_docker_with_attestations(api):
    client = Receiver(b"FROM scratch\nCOPY a /\n", a=b"a")
    exporter = ("docker", {"name": "docker.io/made/old:1"})
    asked(api, client, {"attest:provenance": "type=provenance,mode=min"}, ("moby", {}), exporter)
    with tarfile.open(fileobj=io.BytesIO(client.results["1"])) as archive:
        (one,) = json.load(archive.extractfile("manifest.json"))
        (named,) = json.load(archive.extractfile("index.json"))["manifests"]
        kinds = json.load(archive.extractfile("blobs/" + named["digest"].replace(":", "/")))["manifests"]
    assert one["RepoTags"] == ["made/old:1"]
    assert kinds[1]["annotations"]["vnd.docker.reference.type"] == "attestation-manifest"


def test_a_cache_of_the_client_is_refused_by_name(api):
    imports = json.dumps([{"Type": "local", "Attrs": {"src": "/c"}}])
    with pytest.raises(AssertionError, match="caches of type=local are not supported here: use registry or inline"):
        asked(api, Receiver(b"FROM scratch\n"), {"cache-imports": imports}, ("moby", {"name": "made/c"}))


def test_a_check(api):
    answer = asked(api, Receiver(b"from scratch\nMAINTAINER me\n"), {"requestid": "frontend.lint"})
    found = json.loads(answer["result.json"])
    assert [one["ruleName"] for one in found["warnings"]] == ["ConsistentInstructionCasing", "MaintainerDeprecated"]
    assert found["warnings"][1]["location"]["ranges"][0]["start"]["line"] == 2
    assert found["sources"][0]["filename"] == "Dockerfile" and answer["result.statuscode"] == b"1"


OFFERS = b"ARG V=1\n# web serves\nFROM scratch AS web\nARG V\n"


def test_outline_of_a_dockerfile(api):
    found = json.loads(asked(api, Receiver(OFFERS), {"requestid": "frontend.outline"})["result.json"])
    place = {"ranges": [{"start": {"line": 1}, "end": {"line": 1}}]}
    assert found["args"] == [{"name": "V", "value": "1", "location": place}]
    assert (found["name"], found["description"], base64.b64decode(found["sources"][0])) == ("web", "serves", OFFERS)


def test_the_stages_of_a_dockerfile(api):
    (target,) = json.loads(asked(api, Receiver(OFFERS), {"requestid": "frontend.targets"})["result.json"])["targets"]
    assert (target["name"], target["default"], target["base"]) == ("web", True, "scratch")


def test_a_step_has_the_clients_ssh_agent(api):
    dockerfile = b"FROM busybox\nRUN --mount=type=ssh,id=work,required test -S $SSH_AUTH_SOCK\n"
    asked(api, Receiver(dockerfile), {"no-cache": ""}, ("moby", {"name": "made/ssh"}))
    api("DELETE", "/images/made/ssh")


def test_data_for_the_agents_socket_reaches_the_client(tmp_path):
    client, path = Receiver(b""), f"{tmp_path}/agent"

    async def talk():
        ours, theirs = [await anyio.abc.SocketStream.from_socket(one) for one in socket.socketpair()]
        async with ours, theirs, anyio.create_task_group() as tasks:
            peer = Peer(Stream(ours))
            tasks.start_soon(peer.run)
            tasks.start_soon(Peer(Stream(theirs), client.offer).run)
            assert await forward.offered(peer, "work")
            async with forward.agent(peer, "work", path):
                for text in (b"hello", b"again" * 20_000):
                    async with await anyio.connect_unix(path) as stream:
                        await stream.send(text)
                        said = b""
                        while len(said) < len(text):
                            said += await stream.receive()
                        assert said == text
            tasks.cancel_scope.cancel()

    anyio.run(talk)
    assert client.asked == ["work", "work"]


def test_the_clients_credentials_are_asked_for(api):
    client = Receiver(b"FROM 127.0.0.1:1/absent\n")
    with pytest.raises(AssertionError, match=r"127\.0\.0\.1:1"):
        asked(api, client, {})
    assert client.asked == ["127.0.0.1:1"]


def test_disconnected_client_cancels_a_silent_step(api):
    dockerfile = b"FROM busybox\nRUN sleep 98765\n"
    asked(api, Receiver(dockerfile), {"no-cache": ""}, until="RUN sleep 98765")
    for pid in running("sleep 98765"):
        select.select([os.pidfd_open(pid)], [], [], 30)
    assert running("sleep 98765") == []


def running(command):
    """Processes of a command line."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if file.read().replace(b"\0", b" ").decode().strip().endswith(command):
                    found.append(int(name))
        except OSError:
            continue
    return found


def test_the_image_is_pushed_after_the_build(api, registry):
    client = Receiver(b"FROM scratch\nLABEL pushed=yes\n")
    asked(api, client, {}, ("moby", {"name": f"{registry}/kit/p:1,{registry}/kit/p:2", "push": "true"}))
    for tag in ("1", "2"):
        name = f"{registry}/kit/p:{tag}"
        api("DELETE", f"/images/{name}")
        assert api.raw("POST", f"/images/create?fromImage={name}")[0] == 200
        assert api.get(f"/images/{name}/json")["Config"]["Labels"] == {"pushed": "yes"}
    with pytest.raises(AssertionError, match="tag is needed when pushing to registry"):
        asked(api, Receiver(b"FROM scratch\n"), {}, ("image", {"push": "true"}))
