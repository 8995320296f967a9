"""Access the files of a running container with a private user namespace, in a child that is root there. Files then have
the ids that the container sees. A multi-threaded process cannot enter a user namespace (setns(2)), and this process
must not stay in one.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from typing import Concatenate, NoReturn, ParamSpec

import engine.errors
from engine.container.userns import is_private
from engine.errors import EngineError, OperationFailed
from engine.image.images import ImageStore
from engine.kernel import userns
from engine.spec.state import ContainerRecord

P = ParamSpec("P")
_Work = Callable[Concatenate[ImageStore, ContainerRecord, P], None]


def with_its_ids(work: _Work[P]) -> _Work[P]:
    """Run `work` in such a child if there is a user namespace; its errors are raised here."""

    @functools.wraps(work)
    def wrapped(images: ImageStore, record: ContainerRecord, /, *args: P.args, **keywords: P.kwargs) -> None:
        if record.state.status.alive and is_private(record.spec):
            _in_child(record, lambda: work(images, record, *args, **keywords))
        else:
            work(images, record, *args, **keywords)

    return wrapped


def _in_child(record: ContainerRecord, work: Callable[[], None]) -> None:
    try:
        namespace = os.open(f"/proc/{record.state.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OperationFailed.of("enter the user namespace of", record.spec.name, error) from error
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _child(namespace, writing, work)
    os.close(namespace)
    os.close(writing)
    with open(reading, "rb") as file:
        report = file.read()
    _, status = os.waitpid(pid, 0)
    if report:
        _raise(json.loads(report))
    if status:
        raise OperationFailed(
            "work in the user namespace of", record.spec.name, detail="the helper process exited early"
        )


def _child(namespace: int, writing: int, work: Callable[[], None]) -> NoReturn:
    try:
        userns.enter(namespace)
        work()
    except BrokenPipeError:
        os.write(writing, json.dumps({"broken": True}).encode())
    except EngineError as error:
        kind = type(error).__name__
        os.write(writing, json.dumps({"kind": kind, "message": error.message, "hint": error.hint}).encode())
    except BaseException as error:
        os.write(writing, json.dumps({"kind": "EngineError", "message": repr(error), "hint": ""}).encode())
    finally:
        os._exit(0)


def _raise(report: dict[str, str]) -> NoReturn:
    if "broken" in report:
        raise BrokenPipeError
    kind = getattr(engine.errors, report["kind"], EngineError)
    error = kind.__new__(kind)  # the message is already complete
    EngineError.__init__(error, report["message"], hint=report["hint"])
    raise error
