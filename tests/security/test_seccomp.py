"""The default system call filter, tried from inside; the expectations are the results of Docker's default profile."""

import json
import os
import re

import pytest

from engine.errors import InvalidSpec

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86_64")

PROBE = """
import ctypes, errno, json, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def native(number, *args):
    ctypes.set_errno(0)
    result = libc.syscall(*(ctypes.c_long(x) for x in (number, *args)))
    return errno.errorcode.get(ctypes.get_errno(), "?") if result == -1 else "ok"

# push rbx; mov eax, edi; mov ebx, esi; mov ecx, edx; mov edx, 0; int 0x80; pop rbx; ret
code = bytes.fromhex("53 89f8 89f3 89d1 ba00000000 cd80 5b c3")
memory = mmap.mmap(-1, 4096, prot=7)
memory.write(code)
int80 = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int)(
    ctypes.addressof(ctypes.c_char.from_buffer(memory)))

def i386(number, *args):
    result = int80(number, *(args + (-1, -1))[:2])
    return errno.errorcode.get(-result, "?") if result < 0 else "ok"

def child(call, *args):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, call(*args).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    return os.read(reading, 99).decode()

ways = {"native": native, "i386": i386}
for way, number, args in json.loads(sys.argv[1]):
    print(child(ways[way], number, *args))
"""

NEW = {"mount": 0x20000, "uts": 0x04000000, "ipc": 0x08000000, "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000}
BAD = [-1] * 6

REFUSED = {
    "mount": 165, "umount2": 166, "pivot_root": 155, "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170,
    "setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179,
    "acct": 163, "settimeofday": 164, "clock_settime": 227, "add_key": 248, "request_key": 249, "keyctl": 250,
    "migrate_pages": 256, "move_pages": 279, "unshare": 272, "perf_event_open": 298, "fanotify_init": 300,
    "open_by_handle_at": 304, "setns": 308, "kcmp": 312, "finit_module": 313, "kexec_load": 246, "kexec_file_load": 320,
    "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443, "uselib": 134, "ustat": 136,
    "sysfs": 139, "vhangup": 153, "syslog": 103, "lookup_dcookie": 212, "get_mempolicy": 239, "set_mempolicy": 238,
    "mbind": 237, "set_mempolicy_home_node": 450, "_sysctl": 156, "nfsservctl": 180, "number 400": 400,
}  # fmt: skip
ALLOWED = {"chroot": (161, "EFAULT"), "ptrace": (101, "ESRCH"), "mknod": (133, "EINVAL"), "memfd_create": (319, "EINVAL"),
           "process_vm_readv": (310, "EINVAL"), "openat2": (437, "E2BIG"), "pidfd_open": (434, "EINVAL"),
           "name_to_handle_at": (303, "EINVAL"), "landlock_create_ruleset": (444, "EINVAL"), "mseal": (462, "EINVAL"),
           "close_range": (436, "EINVAL"), "seccomp": (317, "EINVAL"), "rseq": (334, "EINVAL")}  # fmt: skip
UNKNOWN = {"clone3": 435, "the next one": 500, "x32 getpid": 0x40000000 + 39}
I386 = {
    "mount": (21, "EPERM"), "clone": (120, "EPERM"), "ptrace": (26, "ESRCH"), "getuid32": (199, "ok"),
    "socketcall": (102, "EINVAL"), "mmap2": (192, "EINVAL"), "keyctl": (288, "EPERM"), "bpf": (357, "EPERM"),
    "userfaultfd": (374, "EPERM"), "unshare": (310, "EPERM"), "clone3": (435, "ENOSYS"), "the next one": (500, "ENOSYS"),
    "vm86": (166, "EPERM"), "sigsuspend": (72, "EPERM"), "clock_gettime64": (403, "EINVAL"),
}  # fmt: skip


if tuple(int(part) for part in os.uname().release.split(".")[:2]) < (6, 10):
    del ALLOWED["mseal"]


def probe(host, calls, **spec):
    """Results in the order of `calls`: (way, number, arguments)."""
    from tests.security.host import PYTHON

    found = host.run("/usr/bin/python3", "-I", "-S", "-c", PROBE, json.dumps(calls), mounts=PYTHON, **spec)
    assert found.code == 0, found
    return found.out.split()


def test_default(host):
    expected = {
        **{name: ("native", number, BAD, "EPERM") for name, number in REFUSED.items()},
        **{name: ("native", number, BAD, error) for name, (number, error) in ALLOWED.items()},
        **{name: ("native", number, BAD, "ENOSYS") for name, number in UNKNOWN.items()},
        **{f"32-bit {name}": ("i386", number, [-1, -1], error) for name, (number, error) in I386.items()},
        **{f"unshare {name}": ("native", 272, [bits], "EPERM") for name, bits in NEW.items()},
        **{f"clone {name}": ("native", 56, [bits | 17, 0, 0, 0, 0], "EPERM") for name, bits in NEW.items()},
        "clone of all": ("native", 56, [-1, 0, 0, 0, 0], "EPERM"),
        "personality ADDR_NO_RANDOMIZE": ("native", 135, [0x40000], "EPERM"),
        "personality LINUX32": ("native", 135, [8], "ok"),
        "personality asked": ("native", 135, [0xFFFFFFFF], "ok"),
        "socket AF_VSOCK": ("native", 41, [40, 1, 0], "EPERM"),
        "socket AF_INET": ("native", 41, [2, 1, 0], "ok"),
        "socket AF_NETLINK": ("native", 41, [16, 3, 0], "ok"),
        "socket AF_PACKET": ("native", 41, [17, 3, 0], "ok"),
    }
    found = probe(host, [(way, number, args) for way, number, args, _ in expected.values()])
    wrong = {
        name: (got, wanted) for (name, (*_, wanted)), got in zip(expected.items(), found, strict=True) if got != wanted
    }
    assert not wrong


def test_a_capability_opens_its_calls(host):
    calls = [("native", REFUSED["mount"], BAD), ("native", 272, [NEW["uts"]]), ("native", REFUSED["bpf"], BAD)]
    calls += [("native", REFUSED["clock_settime"], BAD), ("native", REFUSED["reboot"], BAD)]
    assert probe(host, calls, cap_add=("SYS_ADMIN",)) == ["EFAULT", "ok", "E2BIG", "EPERM", "EPERM"]
    assert probe(host, calls, cap_add=("SYS_TIME", "SYS_BOOT")) == ["EPERM"] * 3 + ["EFAULT", "EINVAL"]


def test_security_modules_are_for_the_administrator(host):
    """Even for calls that are newer than libseccomp."""
    calls = [("native", number, BAD) for number in (459, 460, 461)]
    assert not {"ok", "EINVAL", "EOPNOTSUPP", "E2BIG"} & set(probe(host, calls))
    administrator = probe(host, calls, cap_add=("SYS_ADMIN",))
    assert administrator == probe(host, calls, security_opt=("seccomp=unconfined",))


def test_unconfined(host):
    calls = [("native", REFUSED["keyctl"], BAD), ("native", 135, [0x40000]), ("native", 272, [NEW["user"]])]
    found = probe(host, calls, security_opt=("seccomp=unconfined",))
    assert found[1:] == ["ok", "ok"] and found[0] != "EPERM"
    assert "Seccomp:\t0" in host.run("cat", "/proc/self/status", security_opt=("seccomp:unconfined",)).out
    assert "Seccomp:\t0" in host.run("cat", "/proc/self/status", privileged=True).out
    assert "Seccomp:\t2" in host.run("cat", "/proc/self/status").out


def test_exec_is_filtered_too(host):
    record = host.sleep()
    assert "Seccomp:\t2" in host.exec(record, "cat", "/proc/self/status").out
    assert "denied" in host.exec(record, "mount", "-t", "tmpfs", "tmpfs", "/tmp").out
    privileged = host.exec(record, "cat", "/proc/self/status", privileged=True).out
    assert "Seccomp:\t2" in privileged and re.search(r"CapEff:\t0000.1ff", privileged)
    record = host.sleep(privileged=True)
    assert "Seccomp:\t0" in host.exec(record, "cat", "/proc/self/status", privileged=True).out


def profile(tmp_path, **fields):
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(fields))
    return (f"seccomp={path}",)


def test_custom_profile(host, tmp_path):
    options = profile(
        tmp_path,
        defaultAction="SCMP_ACT_ALLOW",
        archMap=[{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
        syscalls=[
            {"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"name": "chmod", "action": "SCMP_ACT_ERRNO"},
            {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}]},
            {"names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["getsid"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "99.0"}},
            {"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "excludes": {"arches": ["amd64"]}},
            {"names": ["sync"], "action": "SCMP_ACT_ERRNO", "includes": {"arches": ["amd64"], "minKernel": "4.8"}},
            {
                "names": ["dup2"],
                "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 6, "op": "SCMP_CMP_EQ"}],
            },
        ],
    )
    calls = [("native", 83, BAD), ("native", 90, BAD), ("native", 41, [16, 3, 0]), ("native", 41, [2, 1, 0])]
    calls += [
        ("native", 121, [0]),
        ("native", 124, [0]),
        ("native", 140, [0, 0]),
        ("native", 162, []),
        ("i386", 39, [-1]),
    ]
    calls += [("native", 33, [5, 9]), ("native", 33, [6, 9]), ("native", 33, [1, 9])]
    expected = ["ENOSPC", "EPERM", "EPERM", "ok", "ok", "ok", "ok", "EPERM", "ENOSPC", "EPERM", "EPERM", "ok"]
    assert probe(host, calls, security_opt=options) == expected


def test_custom_profile_kills(host, tmp_path):
    options = profile(
        tmp_path, defaultAction="SCMP_ACT_ALLOW", syscalls=[{"names": ["mkdir"], "action": "SCMP_ACT_KILL_PROCESS"}]
    )
    assert host.run("mkdir", "/x", security_opt=options).code == 128 + 31


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "JSONDecodeError"),
        ("{}", "defaultAction"),
        ('{"defaultAction": "SCMP_ACT_NOTIFY"}', "SCMP_ACT_NOTIFY is not supported"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ERRNO"}]}', "name"),
    ],
)
def test_bad_profile(host, tmp_path, text, message):
    path = tmp_path / "profile.json"
    path.write_text(text)
    with pytest.raises(InvalidSpec, match=f"seccomp profile {path}: .*{message}"):
        host.run("true", security_opt=(f"seccomp={path}",))


def test_missing_profile(host):
    with pytest.raises(InvalidSpec, match="seccomp profile /nowhere\\.json: No such file"):
        host.run("true", security_opt=("seccomp=/nowhere.json",))
