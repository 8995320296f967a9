"""One group's session for tests that are not coroutines: creates containers, inspects them, removes everything."""

import asyncio
import contextlib
import glob
import os
import secrets
import tempfile

from engine.api import Engine
from engine.spec.container import ContainerSpec, ExecSpec
from engine.spec.state import Status
from tests.scenario.command import SESSION
from tests.session.tasks import LoopTasks

PATIENCE = 30.0
"""Seconds after which a test's wait has failed."""


def _content(file):
    file.seek(0)
    return file.read()


class Box:
    def __init__(self, roots):
        self.roots = roots
        self.group = SESSION + secrets.token_hex(3)
        self.engine = Engine(roots)
        self.loop = asyncio.new_event_loop()
        self.session = self.do(self.engine.session(self.group, LoopTasks()))
        self.do(self.session.adopt())
        self.image = self.engine.image("busybox").id

    def do(self, work, patience=PATIENCE):
        """Run a coroutine in the session's event loop."""
        return self.loop.run_until_complete(asyncio.wait_for(work, patience))

    def spec(self, *command, **fields):
        fields.setdefault("name", f"{self.group}-{secrets.token_hex(4)}")
        if command:
            fields["command"] = command
        # A container's first process has no signal handlers, so only SIGKILL ends it at once.
        fields.setdefault("stop_signal", "SIGKILL")
        return ContainerSpec(image=fields.pop("image", self.image), **fields)

    def create(self, *command, **fields):
        return self.do(self.session.create(self.spec(*command, **fields)))

    def start(self, *command, **fields):
        """A running container; by default it runs for ever."""
        record = self.create(*(command or ("sleep", "1000")), **fields)
        return self.do(self.session.start(record.id))

    def run(self, *command, **fields):
        """Run a container to its end and remove it: its exit code and its output, both streams as one text."""
        record = self.create(*command, **fields)
        self.do(self.session.start(record.id))
        code = self.wait(record)
        text = self.log(record)
        self.do(self.session.remove(record.id, volumes=True))
        return code, text

    def output(self, *command, **fields):
        """The output of a container, which must succeed."""
        code, text = self.run(*command, **fields)
        assert code == 0, text
        return text.rstrip("\n")

    def shell(self, script, **fields):
        return self.output("sh", "-ec", script, **fields)

    def wait(self, record):
        """The exit code of a container that was started."""
        event = self.session.ended.get(record.id)
        if event is not None:
            self.do(event.wait())
        return self.state(record).exit_code

    def log(self, record):
        reader = self.engine.logs(self.group, record.id)
        try:
            return "".join(entry.text for entry in reader.read())
        finally:
            reader.close()

    def state(self, record):
        return self.session.record(record.id).state

    def exec(self, record, *command, stdin=b"", **fields):
        """(exit code, standard output, standard error) of a further process."""
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(tempfile.TemporaryFile(buffering=0)) for _ in range(3)]
            files[0].write(stdin)
            files[0].seek(0)
            spec = ExecSpec(args=command, **fields)
            process = self.engine.exec_process(
                self.group, record.id, spec, stdio=tuple(file.fileno() for file in files)
            )
            stack.callback(process.close)
            code = process.wait()
            out, err = (_content(file) for file in files[1:])
            return code, out.decode(), err.decode()

    def inside(self, record, script, **fields):
        """The output of a shell script in a running container; it must succeed."""
        code, out, err = self.exec(record, "sh", "-ec", script, **fields)
        assert code == 0, out + err
        return out.rstrip("\n")

    def remove_all(self):
        for container_id in list(self.session.records):
            with contextlib.suppress(KeyError):
                if self.session.records[container_id].state.status is Status.PAUSED:
                    self.do(self.session.unpause(container_id))
                self.do(self.session.remove(container_id, force=True, volumes=True))
        for volume in self.engine.volumes():
            self.do(self.session.remove_volume(volume.spec.name))
        for network in self.engine.networks():
            self.do(self.session.remove_network(network.spec.name))

    def left(self):
        """The remains of containers after the removal of all."""
        cgroups = glob.glob(f"/sys/fs/cgroup/composer*/{self.group}/*/") + glob.glob(
            f"/sys/fs/cgroup/*/composer*/{self.group}/*/"
        )
        folders = glob.glob(f"{self.roots.groups}/{self.group}/*")
        running = [path for path in glob.glob(f"{self.roots.run}/{self.group}/*") if os.path.isdir(path)]
        return cgroups + folders + running

    def close(self):
        self.remove_all()
        self.do(self.session.close())
        self.loop.close()
