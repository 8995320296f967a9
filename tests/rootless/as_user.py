"""`python as_user.py HOME COMMAND…`: run a command as an ordinary user who exists only here, in a mount namespace.

/etc/passwd, group, subuid and subgid are copies with that user in them, bound over the real ones; the interpreter and
the sources are readable even if they are below a folder of root.
"""

import ctypes
import os
import sys
from pathlib import Path

NAME = "alice"
UID = int(os.environ.setdefault("AS_USER_UID", str(20000 + os.getpid() % 30000)))
"""Different for each test session, because several may run on one machine."""
FIRST = UID * 65536
TOP = Path(__file__).resolve().parent.parent.parent
_libc = ctypes.CDLL(None, use_errno=True)
BIND, REC, PRIVATE, CLONE_NEWNS = 0x1000, 0x4000, 0x40000, 0x20000


def mount(source, target, kind=None, flags=0, data=None):
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, data)]
    if _libc.mount(words[0], words[1], words[2], flags, words[3]):
        raise OSError(ctypes.get_errno(), f"mount {source} {target}")


def account(home):
    """Bind-mount files that contain the user over the host's."""
    for name, line in {
        "passwd": f"{NAME}:x:{UID}:{UID}::{home}:/bin/sh\n",
        "group": f"{NAME}:x:{UID}:\n",
        "subuid": f"{NAME}:{FIRST}:65536\n",
        "subgid": f"{NAME}:{FIRST}:65536\n",
    }.items():
        copy = Path(home, f".etc-{name}")
        copy.write_text(Path(f"/etc/{name}").read_text() + line * (name != os.environ.get("AS_USER_WITHOUT")))
        mount(copy, f"/etc/{name}", flags=BIND)


def expose(*paths):
    """Make folders reachable for all users: a tmpfs that contains only them covers inaccessible parents."""
    closed = {}
    for path in map(Path, paths):
        for above in reversed(path.parents):
            if not above.stat().st_mode & 0o001:
                closed.setdefault(above, []).append(path)
                break
    for above, inside in closed.items():
        held = [os.open(path, os.O_PATH | os.O_DIRECTORY) for path in inside]
        mount("tmpfs", above, "tmpfs", data="mode=755")
        for path, fd in zip(inside, held, strict=True):
            path.mkdir(parents=True, exist_ok=True)
            mount(f"/proc/self/fd/{fd}", path, flags=BIND | REC)


def tun():
    """The device that udev makes available to all users on a real machine."""
    if os.path.exists("/dev/net/tun"):
        mount("tmpfs", "/dev/net", "tmpfs")
        os.mknod("/dev/net/tun", 0o020666, os.makedev(10, 200))
        os.chmod("/dev/net/tun", 0o666)


def main():
    home, *command = sys.argv[1:]
    if _libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    mount(None, "/", flags=REC | PRIVATE)
    account(home)
    tun()
    expose(*{sys.base_prefix, os.path.realpath(sys.prefix), str(TOP)})
    os.setgroups([])
    os.setresgid(UID, UID, UID)
    os.setresuid(UID, UID, UID)
    os.chdir(home)
    environment = {
        key: value for key, value in os.environ.items() if key.startswith(("COMPOSER_", "COMPOSE_", "PYTHON"))
    }
    environment |= {"PATH": "/usr/bin:/bin", "HOME": home, "XDG_RUNTIME_DIR": f"{home}/run", "PYTHONPATH": str(TOP)}
    os.execvpe(command[0], command, environment)


if __name__ == "__main__":
    main()
