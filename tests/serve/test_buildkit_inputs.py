"""Contexts that a client gives as LLB definitions, as bake does for a target that another one needs, and as an
upload."""

import hashlib
import io
import tarfile

import anyio
import pytest

from composer.serve.buildkit import wire
from composer.serve.buildkit.definition import Source, image_definition, source_of
from composer.serve.buildkit.grpc import Failed, Peer
from composer.serve.buildkit.session import Tunnel
from tests.serve.test_buildkit import BRIDGE, CONTROL, Client, upgraded


def definition(operation):
    """A pb.Definition whose result is `operation`, a marshalled pb.Op."""
    digest = f"sha256:{hashlib.sha256(operation).hexdigest()}"
    return wire.block(1, operation) + wire.block(1, wire.block(1, wire.message((1, digest))))


def source(identifier, **attributes):
    return definition(wire.block(3, wire.message((1, identifier)) + wire.mapping(2, attributes)))


def test_a_definition_is_read_back():
    assert source_of(image_definition("sha256:1")) == Source("composer-image://sha256:1", {})
    assert source_of(source("git://x/y#main", a="b")) == Source("git://x/y#main", {"a": "b"})
    assert source_of(b"") == Source("", {})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (definition(wire.block(2, b"")), "the operation exec"),
        (definition(wire.block(4, b"")), "the operation file"),
        (wire.block(1, wire.block(3, b"")), "no result"),
        (wire.block(1, wire.block(1, wire.message((1, "sha256:0")))), "missing"),
    ],
)
def test_unsupported_definitions_are_refused(data, words):
    with pytest.raises(Failed, match=words):
        source_of(data)


class Bake(Client):
    """Builds of one session, which is a call of /grpc, as with bake."""

    async def offer(self, call):
        if not call.path.endswith("Upload/Pull"):
            return await super().offer(call)
        assert call.metadata["urlpath"] == "/one"
        archive = self.secrets["archive"]
        for start in range(0, len(archive), 1000):
            await call.send(wire.message((1, archive[start : start + 1000])))

    async def run(self, path, *builds):
        """The definitions of the results; each build is a function of those before."""
        made = []
        async with anyio.create_task_group() as tasks:
            grpc = Peer(await upgraded(path, "/grpc"))
            tasks.start_soon(grpc.run)
            call = await grpc.call(f"{CONTROL}Session", [("x-docker-expose-session-uuid", "baking")])
            tasks.start_soon(Peer(Tunnel(call), self.offer).run)
            for number, build in enumerate(builds):
                options, inputs = build(*made)
                made.append(await self.one(grpc, f"b{number}", options, inputs))
            tasks.cancel_scope.cancel()
        return made

    async def one(self, grpc, name, options, inputs):
        found = []
        exporter = wire.block(13, wire.message((1, "moby")) + wire.mapping(2, {"name": f"made/{name}"}))
        async with anyio.create_task_group() as tasks:

            async def ask():
                build = [("buildkit-controlapi-buildid", name)]
                await grpc.ask(f"{BRIDGE}Ping", b"", build)
                asked = wire.message((2, "dockerfile.v0")) + wire.mapping(3, options) + wire.mapping(13, inputs)
                answer = wire.fields(await grpc.ask(f"{BRIDGE}Solve", asked, build))
                (result,) = wire.blocks(answer, 3)
                (reference,) = wire.blocks(wire.fields(result), 3)
                await grpc.ask(f"{BRIDGE}Evaluate", wire.message((1, wire.text(wire.fields(reference), 1))), build)
                found.extend(wire.blocks(wire.fields(reference), 2))
                await grpc.ask(f"{BRIDGE}Return", b"", build)

            tasks.start_soon(ask)
            await grpc.ask(f"{CONTROL}Solve", wire.message((1, name), (5, "baking")) + exporter)
        return found[0]


def test_a_target_is_the_context_of_the_next(api):
    base = {"Dockerfile": b"FROM busybox\nRUN echo made > /made\nENV FROM_BASE=yes\n"}
    client = Bake({"context": base, "dockerfile": base}, {})

    def second(made):
        client.folders["dockerfile"] = {
            "Dockerfile": b"FROM base\nCOPY --from=files made /copied\nRUN echo $FROM_BASE > /env\n"
        }
        return {"context:base": "input:base", "context:files": "input:base"}, {"base": made}

    anyio.run(client.run, api.path, lambda: ({}, {}), second)
    assert output(api, "made/b1", "cat /made /copied /env") == ["made", "made", "yes"]


def test_a_context_of_sources_and_an_upload(api):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in {
            "Dockerfile": b"FROM b\nCOPY a /a\nCOPY --from=local x /x\n",
            "a": b"uploaded\n" * 500,
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    client = Bake({"other": {"x": b"local\n"}}, {"archive": file.getvalue()})
    options = {"context": "http://buildkit-session/one", "context:b": "input:b", "context:local": "input:other"}
    inputs = {"b": source("docker-image://docker.io/library/busybox:latest"), "other": source("local://other")}
    anyio.run(client.run, api.path, lambda: (options, inputs))
    assert output(api, "made/b0", "wc -l < /a; cat /x") == ["500", "local"]


def output(api, image, script):
    body = {"Image": image, "Cmd": ["sh", "-c", script], "Tty": True, "HostConfig": {"NetworkMode": "none"}}
    one = api("POST", "/containers/create", body)["Id"]
    api.raw("POST", f"/containers/{one}/start")
    api("POST", f"/containers/{one}/wait")
    said = api.raw("GET", f"/containers/{one}/logs?stdout=1")[2].decode().split()
    api.raw("DELETE", f"/containers/{one}")
    return said
