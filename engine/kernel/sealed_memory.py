"""Our programs in sealed memory: outside all file systems, and immutable."""

from __future__ import annotations

import errno
import fcntl
import os

from engine.errors import OperationFailed

_MFD_EXEC = 0x10


def sealed(name: str, programs: dict[str, str]) -> int:
    """A descriptor of the program for this machine; `programs` has them in hexadecimal by machine. Raises
    OperationFailed."""
    fd = -1
    try:
        data = bytes.fromhex(programs[os.uname().machine])
        try:
            fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | _MFD_EXEC)
        except OSError:  # Linux before 6.3 has no MFD_EXEC, and does not need it
            fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            if not os.fstat(fd).st_mode & 0o100:
                raise PermissionError(errno.EACCES, "vm.memfd_noexec forbids programs in memory") from None
        os.write(fd, data)
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        raise OperationFailed.of("make", f"the program {name}", error) from error
    except KeyError as error:
        raise OperationFailed("make", f"the program {name}", detail=f"there is none for {error}") from error
    return fd
