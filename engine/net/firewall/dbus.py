"""Method calls on a message bus (D-Bus Specification), through jeepney."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from jeepney import DBusAddress, HeaderFields, Message, MessageType, new_method_call
from jeepney.auth import AuthenticationError
from jeepney.io.blocking import DBusConnection, prep_socket


class CallFailed(Exception):
    """The called object answered with an error. `name`: the error's name on the bus."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text or name)
        self.name = name


class Bus:
    """A connection to the message bus at a socket path. All methods raise OSError if the bus fails or does not answer in
    `timeout` seconds."""

    def __init__(self, path: str, timeout: float) -> None:
        with _failures():
            sock = prep_socket(path, timeout=timeout)
            try:
                self._connection = _Connection(sock, timeout)
            except BaseException:
                sock.close()
                raise

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def call(
        self, destination: str, path: str, interface: str, member: str, signature: str = "", values: Sequence[Any] = ()
    ) -> tuple[Any, ...]:
        """Call a method with arguments of the types in `signature`, and return the values of its answer; a variant is
        (type, value). Raises CallFailed if the answer is an error."""
        address = DBusAddress(path, destination, interface)
        with _failures():
            answer = self._connection.send_and_get_reply(
                new_method_call(address, member, signature or None, tuple(values))
            )
        if answer.header.message_type is MessageType.error:
            name = str(answer.header.fields.get(HeaderFields.error_name, ""))
            raise CallFailed(name, str(answer.body[0]) if answer.body else "")
        return tuple(answer.body)


class _Connection(DBusConnection):  # type: ignore[misc]  # jeepney has no types
    """Waits only for `limit` seconds for each answer, also for the one to the greeting."""

    def __init__(self, sock: object, limit: float) -> None:
        self._limit = limit
        super().__init__(sock)

    def send_and_get_reply(self, message: Message, *, timeout: float | None = None) -> Message:
        return super().send_and_get_reply(message, timeout=timeout or self._limit)


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Raise OSError for whatever jeepney raises when a bus does not follow the specification."""
    try:
        yield
    except OSError:
        raise
    except AuthenticationError as error:
        raise PermissionError("the message bus does not admit us") from error
    except Exception as error:
        raise ConnectionError("the message bus sends a malformed message") from error
