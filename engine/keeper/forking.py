"""A child of ours that is born in a container's pid namespace (pid_namespaces(7): only children are, we stay outside)."""

from __future__ import annotations

import os
import struct

from engine.errors import OperationFailed
from engine.kernel import calls, flags

_NUMBER = struct.Struct("=i")


def fork_into(pid: int) -> int:
    """fork(2) into the pid namespace of `pid`: the child's pid, in the child 0."""
    namespace = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not _may_return(home):
            return _through_another(namespace)
        calls.setns(namespace, flags.CLONE["pid"])
        child, pidfd = calls.clone(0)
        if child:
            calls.setns(home, flags.CLONE["pid"])
            os.close(pidfd)
        return child
    finally:
        os.close(namespace)
        os.close(home)


def _may_return(home: int) -> bool:
    """Whether our own pid namespace, from which nothing changes when it is entered, belongs to our user namespace."""
    try:
        calls.setns(home, flags.CLONE["pid"])
    except OperationFailed:
        return False
    return True


def _through_another(namespace: int) -> int:
    """For an ordinary user's keeper, which cannot return to the host's pid namespace: a short-lived child goes there and
    makes the one that is wanted, as a sibling of its own."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    helper = os.fork()
    if helper == 0:
        try:
            calls.setns(namespace, flags.CLONE["pid"])
            child, _ = calls.clone(flags.CLONE_PARENT)
        except OperationFailed as error:
            os.write(writing, _NUMBER.pack(-error.errno))
            os._exit(1)
        if child == 0:
            os.close(reading)
            os.close(writing)
            return 0
        os.write(writing, _NUMBER.pack(child))
        os._exit(0)
    os.close(writing)
    try:
        (number,) = _NUMBER.unpack(os.read(reading, _NUMBER.size).ljust(_NUMBER.size, b"\0"))
    finally:
        os.close(reading)
        os.waitpid(helper, 0)
    if number <= 0:
        raise OperationFailed("enter", "the container's pid namespace", -number)
    return int(number)
