"""The raw system calls, which raise OperationFailed. The only ctypes in the engine.

Standard library only, and light, because the keeper imports it. `PyDLL` keeps the GIL, which is what a fork needs.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import time

from engine.errors import OperationFailed
from engine.kernel import flags
from engine.kernel.proc import start_time as start_time

_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

_NR = {
    "x86_64": {
        "clone": 56,
        "pivot_root": 155,
        "seccomp": 317,
        "keyctl": 250,
        "rt_sigaction": 13,
        "ioprio_set": 251,
        "sched_setattr": 314,
    },
    "aarch64": {
        "clone": 220,
        "pivot_root": 41,
        "seccomp": 277,
        "keyctl": 219,
        "rt_sigaction": 134,
        "ioprio_set": 30,
        "sched_setattr": 274,
    },
}[os.uname().machine]
# The newer calls have one number on every architecture (include/uapi/asm-generic/unistd.h).
_PIDFD_SEND_SIGNAL, _OPEN_TREE, _MOVE_MOUNT, _PIDFD_OPEN, _CLONE3 = 424, 428, 429, 434, 435
_CLOSE_RANGE, _OPENAT2, _MOUNT_SETATTR = 436, 437, 442
_SIGSET = 128
"""Bytes of a sigset_t of the C library."""


def _fail(operation: str, subject: object) -> OperationFailed:
    number = ctypes.get_errno()
    return OperationFailed(operation, subject, number, detail=os.strerror(number))


def _call(operation: str, subject: object, number: int, *args: object) -> int:
    while (result := _libc.syscall(ctypes.c_long(number), *args)) < 0:
        if ctypes.get_errno() != errno.EINTR:  # again, as Python itself does (PEP 475)
            raise _fail(operation, subject)
    return int(result)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def mount(source: str | None, target: str, kind: str | None, bits: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    arguments = (_bytes(source), _bytes(target), _bytes(kind), ctypes.c_ulong(bits), _bytes(data))
    if _libc.mount(*arguments) != 0:
        words = " ".join(x for x in (kind, source, f"flags {flags.names(bits, flags.MS)}", data) if x)
        raise _fail("mount", f"{target} ({words})")


def umount(target: str, bits: int = flags.MNT_DETACH) -> None:
    """umount2(2); lazy by default."""
    if _libc.umount2(_bytes(target), bits) != 0:
        raise _fail("umount", target)


def pivot_root(new: str, put_old: str) -> None:
    _call("pivot_root", new, _NR["pivot_root"], _bytes(new), _bytes(put_old))


def unshare(bits: int) -> None:
    if _libc.unshare(bits) != 0:
        raise _fail("unshare", flags.names(bits, flags.CLONE))


def setns(fd: int, kind: int = 0, *, subject: str = "") -> None:
    if _libc.setns(fd, kind) != 0:
        raise _fail("setns", subject or flags.names(kind, flags.CLONE))


def clone(bits: int) -> tuple[int, int]:
    """fork(2) into new namespaces: (pid, pidfd) in the parent, (0, -1) in the child. Single-threaded callers only.

    With CLONE_PARENT in `bits` the child becomes our parent's, with our exit signal.
    """
    pidfd = ctypes.c_int(-1)
    signal = 0 if bits & flags.CLONE_PARENT else 17  # SIGCHLD
    arguments = struct.pack("=11Q", bits | flags.CLONE_PIDFD, ctypes.addressof(pidfd), 0, 0, signal, 0, 0, 0, 0, 0, 0)
    # As os.fork() does it: from Python 3.13 on, what comes after a fork expects the locks that were taken before it.
    _before_fork()
    pid = _libc.syscall(ctypes.c_long(_CLONE3), arguments, ctypes.c_size_t(len(arguments)))
    if pid == 0:
        _after_fork_in_child()
        return 0, -1
    number = ctypes.get_errno()
    _after_fork_in_parent()
    if pid < 0:
        raise OperationFailed("clone3", flags.names(bits, flags.CLONE), number, detail=os.strerror(number))
    os.set_inheritable(pidfd.value, False)
    return int(pid), pidfd.value


def fork_sibling() -> int:
    """fork(2) of a child of our parent's: its pid, 0 in the child. By clone(2), which seccomp filters let pass where they
    cannot look into the arguments of clone3. Single-threaded callers only."""
    _before_fork()
    nothing = ctypes.c_long(0)
    pid = _libc.syscall(
        ctypes.c_long(_NR["clone"]), ctypes.c_ulong(flags.CLONE_PARENT), nothing, nothing, nothing, nothing
    )
    if pid == 0:
        _after_fork_in_child()
        return 0
    number = ctypes.get_errno()
    _after_fork_in_parent()
    if pid < 0:
        raise OperationFailed("clone", "CLONE_PARENT", number, detail=os.strerror(number))
    return int(pid)


_before_fork, _after_fork_in_child, _after_fork_in_parent = (
    ctypes.pythonapi.PyOS_BeforeFork,
    ctypes.pythonapi.PyOS_AfterFork_Child,
    ctypes.pythonapi.PyOS_AfterFork_Parent,
)
for _hook in (_before_fork, _after_fork_in_child, _after_fork_in_parent):
    _hook.argtypes, _hook.restype = (), None


def openat2(folder: int, path: str, how: int, *, mode: int = 0, resolve: int = flags.RESOLVE_IN_ROOT) -> int:
    """openat2(2): open `path` with every component resolved inside `folder`; always close-on-exec."""
    arguments = struct.pack("=QQQ", how | os.O_CLOEXEC, mode, resolve | flags.RESOLVE_NO_MAGICLINKS)
    for _ in range(_RACES):
        try:
            return _call("open", path, _OPENAT2, folder, _bytes(path), arguments, ctypes.c_size_t(len(arguments)))
        except OperationFailed as error:
            if error.errno != errno.EAGAIN:
                raise
    return _call("open", path, _OPENAT2, folder, _bytes(path), arguments, ctypes.c_size_t(len(arguments)))


_RACES = 100
"""How often a ".." is looked up again if the kernel cannot be sure of the result, because of a concurrent mount or
rename anywhere (EAGAIN)."""


def open_tree(folder: int, path: str, bits: int) -> int:
    return _call("open_tree", path, _OPEN_TREE, folder, _bytes(path), ctypes.c_uint(bits | flags.OPEN_TREE_CLOEXEC))


def move_mount(tree: int, target: int) -> None:
    """Attach the detached mount `tree` on the open directory or file `target`."""
    bits = flags.MOVE_MOUNT_F_EMPTY_PATH | flags.MOVE_MOUNT_T_EMPTY_PATH
    _call("move_mount", f"/proc/self/fd/{target}", _MOVE_MOUNT, tree, b"", target, b"", ctypes.c_uint(bits))


def mount_setattr(
    tree: int,
    *,
    set_bits: int = 0,
    clear_bits: int = 0,
    propagation: int = 0,
    recursive: bool = False,
    userns: int = 0,
) -> None:
    arguments = struct.pack("=QQQQ", set_bits, clear_bits, propagation, userns)
    bits = flags.AT_EMPTY_PATH | (flags.AT_RECURSIVE if recursive else 0)
    _call("mount_setattr", tree, _MOUNT_SETATTR, tree, b"", bits, arguments, ctypes.c_size_t(len(arguments)))


def pidfd_open(pid: int) -> int:
    return _call("pidfd_open", pid, _PIDFD_OPEN, pid, 0)


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    _call("pidfd_send_signal", signal, _PIDFD_SEND_SIGNAL, pidfd, signal, None, 0)


def tee(source: int, target: int, size: int) -> int:
    """tee(2): copy up to `size` bytes from one pipe into another without consuming them; 0 at the end of the stream.

    Raises BlockingIOError if there are none now.
    """
    while (result := int(_tee(source, target, size, flags.SPLICE_F_NONBLOCK))) < 0:
        if ctypes.get_errno() != errno.EINTR:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


_tee = _libc.tee
_tee.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint)
_tee.restype = ctypes.c_ssize_t


def exit_status(pid: int, pidfd: int) -> int | None:
    """The wait status of an ended process that is not our child: as a zombie (proc_pid_stat(5), field 52), or when its
    parent has reaped it from the pidfd (PIDFD_GET_INFO, Linux 6.15). None if it is unknown."""
    import fcntl

    PIDFD_GET_INFO, PIDFD_INFO_EXIT = 0xC040FF0B, 1 << 3
    for _ in range(500):  # there is a gap between the two, up to a second on a busy machine
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            if fields[0] == b"Z":
                return int(fields[49])
        except OSError:
            pass
        info = bytearray(struct.pack("=QQ12i", PIDFD_INFO_EXIT, *[0] * 13))
        try:
            fcntl.ioctl(pidfd, PIDFD_GET_INFO, info)
        except OSError:
            return None
        mask, *_, status = struct.unpack("=QQ12i", info)
        if mask & PIDFD_INFO_EXIT:
            return int(status)
        time.sleep(0.002)
    return None


def close_range(first: int, last: int = 0xFFFFFFFF) -> None:
    _call("close_range", first, _CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(last), 0)


def prctl(option: int, *args: int) -> int:
    padded = (*args, 0, 0, 0, 0)[:4]
    result = int(_libc.prctl(option, *(ctypes.c_ulong(a) for a in padded)))
    if result < 0:
        raise _fail("prctl", option)
    return result


def set_name(name: str) -> None:
    """Set the name that ps shows; at most 15 bytes (PR_SET_NAME)."""
    if _libc.prctl(flags.PR_SET_NAME, os.fsencode(name), 0, 0, 0) < 0:
        raise _fail("prctl", "PR_SET_NAME")


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2), version 3 of the structure; each argument is a bit mask."""
    if _libc.capset(*capability_words(effective, permitted, inheritable)) != 0:
        raise _fail("capset", hex(effective))


def capability_words(effective: int, permitted: int, inheritable: int) -> tuple[bytes, bytes]:
    """The arguments of capset(2): struct __user_cap_header_struct and __user_cap_data_struct."""
    low, high = 0xFFFFFFFF, 32
    data = struct.pack(
        "=6I",
        *(mask & low for mask in (effective, permitted, inheritable)),
        *(mask >> high for mask in (effective, permitted, inheritable)),
    )
    return struct.pack("=Ii", 0x20080522, 0), data


def capget() -> int:
    """Our permitted capabilities as a bit mask (capget(2))."""
    data = ctypes.create_string_buffer(24)
    if _libc.capget(struct.pack("=Ii", 0x20080522, 0), data) != 0:
        raise _fail("capget", "self")
    words = struct.unpack("=6I", data.raw)
    return int(words[1] | words[4] << 32)


def seccomp(program: bytes) -> None:
    """Install a BPF filter, an array of struct sock_filter (seccomp(2), SECCOMP_SET_MODE_FILTER)."""
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    _call("seccomp", f"{len(program) // 8} instructions", _NR["seccomp"], 1, 0, fprog)


def set_filesystem_owner(uid: int, gid: int) -> None:
    """Set the owner of new files (setfsuid(2)) without changing capabilities."""
    permitted = capget()
    _libc.setfsgid(ctypes.c_uint(gid))
    _libc.setfsuid(ctypes.c_uint(uid))
    # These calls do not report errors; only the next call shows the result.
    if _libc.setfsuid(ctypes.c_uint(-1)) != uid or _libc.setfsgid(ctypes.c_uint(-1)) != gid:
        raise OperationFailed("setfsuid", f"{uid}:{gid}", detail="the kernel refused it")
    capset(permitted, permitted, 0)  # leaving uid 0 dropped the capabilities for files


def join_session_keyring(name: str) -> None:
    """Join a session keyring by its name, creating it if needed, so that the caller's keys are not accessible
    (keyctl(2)); does nothing if the kernel has no keys, or no room for another."""
    join_session, set_permissions = 1, 5
    ring = _libc.syscall(ctypes.c_long(_NR["keyctl"]), join_session, os.fsencode(name))
    if ring > 0:
        # All rights for the possessor; view, read, search and link for its user, because it must be searchable to be found.
        _libc.syscall(ctypes.c_long(_NR["keyctl"]), set_permissions, ctypes.c_long(ring), ctypes.c_uint(0x3F1B0000))


def reset_personality() -> None:
    """The usual execution domain, and none of the bits that change address layout (personality(2))."""
    _libc.personality(ctypes.c_ulong(0))


def reset_signal(number: int) -> None:
    """Set SIG_DFL for any signal, including those that Python and the C library reserve."""
    empty, size_of_set = bytes(32), 8
    _call("rt_sigaction", number, _NR["rt_sigaction"], ctypes.c_int(number), empty, None, ctypes.c_size_t(size_of_set))


def mask_signals(mask: bytes = b"\xff" * _SIGSET) -> bytes:
    """Block the signals of the mask, and no others (pthread_sigmask(3)); returns the mask before. The function of Python's
    signal module of that name makes an enumeration member of every signal, which takes longer than a clone(2)."""
    before = ctypes.create_string_buffer(_SIGSET)
    if number := _libc.pthread_sigmask(signal.SIG_SETMASK, mask, before):
        raise OperationFailed("pthread_sigmask", "our signals", number, detail=os.strerror(number))
    return before.raw


def reset_io_priority() -> None:
    """Reset the I/O priority, so that it follows the niceness (ioprio_set(2)); does nothing if the kernel has no such
    priorities."""
    this_process = 1
    _libc.syscall(ctypes.c_long(_NR["ioprio_set"]), this_process, 0, 0)


def wake_promptly() -> None:
    """Request short time slices for this thread, so that it runs soon after waking, with niceness 0 where permitted
    (sched_setattr(2)). Children do not inherit this. Kernels before Linux 6.12 ignore the length of the slice."""
    turn, reset_on_fork = 100_000, 1
    for nice in (0, os.getpriority(os.PRIO_PROCESS, 0)):
        attributes = struct.pack("=IIQiIQQQ", 48, 0, reset_on_fork, nice, 0, turn, 0, 0)
        if _libc.syscall(ctypes.c_long(_NR["sched_setattr"]), 0, attributes, 0) == 0:
            return


def sethostname(name: str) -> None:
    data = os.fsencode(name)
    if _libc.sethostname(data, len(data)) != 0:
        raise _fail("sethostname", name)


def setdomainname(name: str) -> None:
    data = os.fsencode(name)
    if _libc.setdomainname(data, len(data)) != 0:
        raise _fail("setdomainname", name)


def filesystem_type(fd: int) -> int:
    """f_type of fstatfs(2)."""
    buffer = ctypes.create_string_buffer(256)
    if _libc.fstatfs(fd, buffer) != 0:
        raise _fail("fstatfs", fd)
    return int(struct.unpack_from("=q", buffer)[0])


def mount_id(path: str) -> int:
    """The id of the mount that contains `path` in /proc/self/mountinfo. Raises OSError."""
    fd = os.open(path, flags.O_PATH | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(b"mnt_id:"))
    finally:
        os.close(fd)


def read_option(fd: int, level: int, option: int, request: bytes, size: int) -> bytes:
    """getsockopt(2) for an option that reads its buffer first, `request`, and fills `size` bytes of it."""
    buffer, length = ctypes.create_string_buffer(request, size), ctypes.c_uint32(size)
    if _libc.getsockopt(fd, level, option, buffer, ctypes.byref(length)) != 0:
        raise _fail("read the socket option", option)
    return buffer.raw[: length.value]
