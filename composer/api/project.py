"""The blocking API."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TypeVar

from composer.api import command
from composer.api.values import Container, Event, LogLine, Output

T = TypeVar("T")
NONE: Mapping[str, str] = {}
ONCE: Mapping[str, int] = {}


class Project(command.ProjectBase):
    """A Compose project. All calls raise ComposerError on failure. As a context manager, it is taken down at the end of
    the block."""

    def __enter__(self) -> Project:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.down()

    def up(
        self,
        *services: str,
        build: bool = False,
        wait: bool = False,
        force_recreate: bool = False,
        scale: Mapping[str, int] = ONCE,
    ) -> list[Container]:
        """Create and start the named services (default: all); returns their containers. `wait`: until they run or are
        healthy."""
        self._run(command.up(services, build=build, wait=wait, force_recreate=force_recreate, scale=scale))
        return self.ps()

    def down(self, *, volumes: bool = False, remove_orphans: bool = False, timeout: int | None = None) -> None:
        """Stop and remove containers and networks. `timeout`: seconds until they are killed, None for their own
        setting."""
        self._run(command.down(volumes=volumes, remove_orphans=remove_orphans, timeout=timeout))

    def ps(self) -> list[Container]:
        """All containers of services, including exited ones."""
        return command.containers(self._run(command.PS))

    def logs(self, *services: str, follow: bool = False, since: str = "", tail: int | None = None) -> Iterator[LogLine]:
        """Yield log lines; with `follow` until the containers exit or the caller closes the iterator."""
        return self._lines(command.logs(services, follow=follow, since=since, tail=tail), command.log_line)

    def events(self, *services: str, since: str = "", until: str = "") -> Iterator[Event]:
        """Yield events of containers as they happen, until `until` or the iterator is closed."""
        return self._lines(command.events(services, since=since, until=until), command.event)

    def exec(
        self,
        service: str,
        *program: str,
        input: bytes = b"",
        user: str = "",
        workdir: str = "",
        environment: Mapping[str, str] = NONE,
        index: int = 1,
    ) -> Output:
        """Run a program in the service's container `index` to completion. A non-zero exit does not raise: check
        `exit_code`."""
        words = command.execution(service, program, user=user, workdir=workdir, environment=environment, index=index)
        done = self._process(words, input)
        return Output(done.returncode, done.stdout, done.stderr)

    def _process(self, words: list[str], input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self._line(*words), cwd=self._folder, env=self._environ, input=input, capture_output=True, check=False
        )

    def _run(self, words: list[str]) -> bytes:
        done = self._process(words)
        if done.returncode:
            raise command.failure(done.returncode, done.stderr)
        return done.stdout

    def _lines(self, words: list[str], read: Callable[[bytes], T]) -> Iterator[T]:
        with tempfile.TemporaryFile() as stderr:
            process = subprocess.Popen(
                self._line(*words), cwd=self._folder, env=self._environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=stderr,
            )  # fmt: skip
            assert process.stdout is not None
            try:
                with contextlib.closing(process.stdout) as lines:
                    for line in lines:
                        yield read(line)
                if process.wait():
                    stderr.seek(0)
                    raise command.failure(process.returncode, stderr.read())
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
