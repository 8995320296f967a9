"""Real containers for attacks: a group opened through the engine's public interface, used from ordinary test
functions."""

import asyncio
import itertools
import os
import secrets

import msgspec

from engine.api import Engine
from engine.spec.container import ContainerSpec, ExecSpec, Mount
from engine.spec.network import VolumeSpec
from tests.scenario.command import SESSION
from tests.session.tasks import LoopTasks

PYTHON = tuple(
    Mount(type="bind", source=os.path.realpath(path), target=path, read_only=True)
    for path in ("/usr", "/lib", "/lib64")
    if os.path.exists(path)
)
"""The machine's own python3 for a container, because attacks by system calls need more than a shell."""


class Result(msgspec.Struct):
    code: int
    out: str


class Host:
    def __init__(self, roots):
        self.roots, self.group = roots, SESSION + secrets.token_hex(3)
        self.engine = Engine(roots)
        self.image = self.engine.image("busybox").id
        self.runner = asyncio.Runner()
        self.session = self.wait(self.engine.session(self.group, LoopTasks()))
        self.number = itertools.count(1)
        self.volumes = []

    def wait(self, operation):
        return self.runner.run(operation)

    def create(self, *command, **spec):
        spec = {"image": self.image, "name": f"{self.group}-{next(self.number)}", "stop_timeout": 0.0, **spec}
        return self.wait(self.session.create(ContainerSpec(entrypoint=command, **spec)))

    def start(self, *command, **spec):
        """A running container."""
        record = self.create(*command, **spec)
        return self.wait(self.session.start(record.id))

    def sleep(self, **spec):
        """A container that waits to be used by `exec`."""
        return self.start("sleep", "1000", **{"init": False, **spec})

    def end_of(self, record):
        """Wait for the container's end."""

        async def ended():
            event = self.session.ended.get(record.id)
            if event is not None:
                await asyncio.wait_for(event.wait(), 60)
            return self.session.record(record.id).state

        return self.wait(ended())

    def run(self, *command, **spec):
        """A container from start to end."""
        record = self.start(*command, **spec)
        state = self.end_of(record)
        return Result(state.exit_code, self.output(record))

    def shell(self, script, **spec):
        return self.run("sh", "-c", script, **spec)

    def python(self, script, **spec):
        """A Python program in a container."""
        mounts = (*PYTHON, *spec.pop("mounts", ()))
        return self.run("/usr/bin/python3", "-I", "-S", "-c", script, mounts=mounts, **spec)

    def output(self, record):
        reader = self.engine.logs(self.group, record.id)
        found = []
        while entries := reader.read():
            found += entries
        reader.close()
        return "".join(entry.text for entry in found)

    def exec(self, record, *command, **spec):
        chunks = []
        code = self.wait(
            self.session.exec(record.id, ExecSpec(args=command, **spec), output=chunks.append, errors=chunks.append)
        )
        return Result(code, b"".join(chunks).decode(errors="replace"))

    def volume(self):
        """A new named volume, removed at the end."""
        name = f"{self.group}-{next(self.number)}"
        self.wait(self.session.create_volume(VolumeSpec(name=name)))
        self.volumes.append(name)
        return name

    def end(self):
        for record in list(self.session.records.values()):
            self.wait(self.session.remove(record.id, force=True, volumes=True))
        for name in self.volumes:
            self.wait(self.session.remove_volume(name))
        self.wait(self.session.close())
        self.runner.close()
