"""An engine for terminal tests: `exec` runs the program here, on a new pseudo-terminal or our descriptors.

Run as a program it is `composer -p shop exec …` on this engine: `python local_engine.py exec web sh`.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios

from engine.spec.container import ContainerSpec, ExecSpec
from engine.spec.state import ContainerRecord, ContainerState, Status


class LocalProcess:
    def __init__(self, spec: ExecSpec, stdio: tuple[int, int, int]) -> None:
        self.stream: int | None = None
        slave = -1
        if spec.tty:
            self.stream, slave = os.openpty()
            self.resize(*spec.console_size)
        self.pid = os.fork()
        if self.pid == 0:
            if slave >= 0:
                os.setsid()
                fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
                stdio = (slave, slave, slave)
            for number, fd in enumerate(stdio):
                os.dup2(fd if fd >= 0 else os.open(os.devnull, os.O_RDWR), number)
            os.closerange(3, 100)
            environ = {**os.environ, **{key: value for key, value in spec.environment.items() if value is not None}}
            os.execvpe(spec.args[0], spec.args, environ)
        if slave >= 0:
            os.close(slave)
        self._pidfd = os.pidfd_open(self.pid)

    def fileno(self) -> int:
        return self._pidfd

    def resize(self, rows: int, columns: int) -> None:
        if self.stream is not None:
            fcntl.ioctl(self.stream, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        pass


class LocalEngine:
    def containers(self, group: str) -> list[ContainerRecord]:
        labels = {"com.docker.compose.service": "web", "com.docker.compose.container-number": "1"}
        spec = ContainerSpec(name="shop-web-1", image="i", labels=labels)
        return [ContainerRecord(id="w" * 64, group=group, spec=spec, state=ContainerState(status=Status.RUNNING))]

    def exec_process(
        self, group: str, container_id: str, spec: ExecSpec, *, stdio: tuple[int, int, int]
    ) -> LocalProcess:
        return LocalProcess(spec, stdio)


if __name__ == "__main__":
    from composer.cli import main
    from composer.cli.project import context

    main.open_engine = lambda roots: LocalEngine()  # type: ignore[assignment, return-value]
    context.Context.declared_services = lambda self: {"web"}  # type: ignore[method-assign]
    sys.exit(main.main(["-p", "shop", *sys.argv[1:]]))
