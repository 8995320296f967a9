"""A conversation with the program of a provider: it writes messages, one line of JSON each, and reads the answers."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue
from threading import Thread
from typing import IO, TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from msgspec import Struct, field

from composer.cli.errors import CommandError
from composer.cli.project import relay
from engine.errors import EngineError

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.cli.render.progress import Progress

TYPES = (
    "error", "info", "setenv", "rawsetenv", "debug", "publish-endpoint", "get-service-config", "get-relay-info", "get-image",
)  # fmt: skip
ANNOUNCED = {"COMPOSE_PROVIDER_MESSAGES": ",".join(TYPES)}
"""The variable that tells a provider which messages it may send."""
CHUNK = 1024 * 1024
"""Bytes of an image in one piece of the answer to get-image."""


class Provided(Struct, kw_only=True):
    """What a provider says of its resource: variables of `setenv` and `rawsetenv`, port → address of `publish-endpoint`.
    `error`: why it failed."""

    prefixed: dict[str, str] = field(default_factory=dict)
    plain: dict[str, str] = field(default_factory=dict)
    endpoints: dict[int, str] = field(default_factory=dict)
    error: str = ""


def converse(
    context: Context,
    service: str,
    words: list[str],
    progress: Progress,
    *,
    pulling: bool = False,
    scale: int | None = None,
) -> tuple[Provided, int]:
    """Run the program to completion and answer its requests; returns also its exit code. `scale`: that of the command, which
    replaces the service's. Raises CommandError."""
    found = Provided()
    environ = {**context.environ, **ANNOUNCED}
    try:
        process = subprocess.Popen(words, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except OSError as error:
        raise CommandError(f'service "{service}": cannot start {words[0]}: {error.strerror}') from error
    with process:
        assert process.stdout is not None and process.stdin is not None
        answers = _Answers(process.stdin)
        try:
            for line in process.stdout:
                _handle(context, service, line, found, answers, progress, pulling=pulling, scale=scale)
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
            answers.close()
    return found, process.returncode


def _handle(
    context: Context,
    service: str,
    line: bytes,
    found: Provided,
    answers: _Answers,
    progress: Progress,
    *,
    pulling: bool,
    scale: int | None,
) -> None:
    if not line.strip():
        return
    sort, text, platform = _message(service, line)
    if sort in ("setenv", "rawsetenv"):
        key, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f'service "{service}": invalid message from provider: {text}')
        (found.prefixed if sort == "setenv" else found.plain)[key] = value
    elif sort == "error":
        found.error = text
    elif sort == "info":
        progress.update(service, text.partition("\n")[0])
    elif sort == "debug":
        if context.options.verbose:
            progress.note(f"{service}: {text}")
    elif sort == "publish-endpoint":
        port, address = relay.endpoint(service, text)
        found.endpoints[port] = address
    elif sort == "get-service-config":
        answers.give(_definition(context, service, scale))
    elif sort == "get-relay-info":
        answers.give(relay.information(context, context.project_name, service))
    elif sort == "get-image" and pulling:
        answers.give_with(lambda to: _stream_image(context, text, platform, to))
    elif sort == "get-image":
        raise CommandError(f'service "{service}": its provider sent get-image, which is only possible during pull')
    else:
        raise CommandError(f'service "{service}": its provider sent a message of unknown type {sort!r}')


class _Answers:
    """Writes answers in their order from a thread: a provider may send more messages before it reads."""

    def __init__(self, to: IO[bytes]) -> None:
        self._to = to
        self._waiting: SimpleQueue[Callable[[IO[bytes]], None] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def give(self, line: str) -> None:
        self.give_with(lambda to: _write(to, f"{line}\n".encode()))

    def give_with(self, write: Callable[[IO[bytes]], None]) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._run)
            self._thread.start()
        self._waiting.put(write)

    def close(self) -> None:
        """Wait for the answers. The program has exited, but a child of it may hold the pipe open without reading: what is
        still to be written is read here, so that no write blocks."""
        if self._thread is not None:
            self._waiting.put(None)
            with contextlib.suppress(OSError, ValueError):
                unread = os.open(f"/proc/self/fd/{self._to.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
                Thread(target=_discard, args=(unread,), daemon=True).start()
            self._thread.join()
        with contextlib.suppress(OSError, ValueError):
            self._to.close()

    def _run(self) -> None:
        while (write := self._waiting.get()) is not None:
            with contextlib.suppress(OSError, ValueError):  # it exited after its request
                write(self._to)


def _discard(fd: int) -> None:
    """Read to the end, which comes when the other end is closed."""
    with open(fd, "rb", buffering=0) as pipe:
        while pipe.read(65536):
            pass


def _write(to: IO[bytes], data: bytes) -> None:
    to.write(data)
    to.flush()


def _stream_image(context: Context, name: str, platform: str, to: IO[bytes]) -> None:
    """Answer get-image: a line that announces the archive, then the archive in HTTP's chunked encoding (RFC 9112, 7.1). If the
    archive ends early, the connection is closed without the last chunk, which tells the reader to discard it."""
    try:
        pieces = _archive(context, name, platform)
        first = next(pieces, b"")
    except EngineError as error:
        _write(to, json.dumps({"type": "image-stream", "error": str(error)}).encode() + b"\n")
        return
    announced = {"type": "image-stream", "encoding": "chunked", "media-type": "application/x-tar"}
    _write(to, json.dumps(announced).encode() + b"\n")
    try:
        while first:
            _write(to, b"%x\r\n%b\r\n" % (len(first), first))
            first = next(pieces, b"")
        _write(to, b"0\r\n")
    except EngineError as error:
        context.warn(f"get-image {name}: {error}")
        to.close()


def _archive(context: Context, name: str, platform: str) -> Iterator[bytes]:
    """The pieces of the image's archive, as `docker save` writes it. Raises EngineError."""
    import tempfile

    with tempfile.TemporaryFile() as file:
        context.new_engine().save_images([name], file.fileno(), platforms=[platform] if platform else [])
        file.seek(0)
        while piece := file.read(CHUNK):
            yield piece


def _definition(context: Context, name: str, scale: int | None) -> str:
    """A service of the project in canonical form, on one line. Its image is named even if only `build` is given, and `build` is
    left out: a provider cannot build."""
    from composer.load.project import load_tree
    from composer.load.resolve.fingerprint import as_json

    tree = as_json(load_tree(context.load_options()).tree["services"][name])
    provider = context.desired.services[name].provider
    if provider is not None and provider.image:
        tree = {**tree, "image": provider.image}
    if scale is not None:
        tree = {**tree, "scale": scale}
    return json.dumps({key: value for key, value in tree.items() if key != "build"}, ensure_ascii=False)


def _message(service: str, line: bytes) -> tuple[str, str, str]:
    """Type, text and platform of a message."""
    try:
        message: Mapping[str, object] = json.loads(line)
        return str(message["type"]), str(message.get("message", "")), str(message.get("platform", ""))
    except (ValueError, TypeError, KeyError, AttributeError):
        text = line.decode(errors="replace").strip()
        raise CommandError(f'service "{service}": invalid message from provider: {text}') from None
