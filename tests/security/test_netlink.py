"""Netlink of the kernel's network, audit, netfilter and event subsystems: what may be changed or read without
CAP_NET_ADMIN, in the container's own network and in the host's. Recorded beside Docker Engine 28.5."""

import pytest

PROBE = """
import errno, os, socket, struct
def ask(protocol, kind, body=b"", flags=5):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as sock:
        sock.settimeout(5)
        sock.bind((0, 0))
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        answer = sock.recv(65536)
        if struct.unpack("=H", answer[4:6])[0] == 2 and (code := struct.unpack("=i", answer[16:20])[0]):
            raise OSError(-code, "")
def attempt(name, action, *words):
    try:
        action(*words)
        print(name, "ok")
    except OSError as error:
        print(name, errno.errorcode.get(error.errno, error))
def join(protocol, group):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as sock:
        sock.setsockopt(270, 1, group)
def event():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15) as sock:
        sock.sendto(b"add@/x\\0ACTION=add\\0", (0, 1))
CREATE, DUMP = 0x605, 0x305
ROUTE, SOCK_DIAG, XFRM, AUDIT, NETFILTER = 0, 4, 6, 9, 12
route = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 253, 1, 0) + struct.pack("=HHI", 8, 4, 1)
kind = struct.pack("=HH", 16, 18) + struct.pack("=HH", 10, 1) + b"dummy\\0\\0\\0"
space = struct.pack("=B3x", 0) + struct.pack("=HHi", 8, 1, 5) + struct.pack("=HHi", 8, 2, os.getpid())
nothing = struct.pack("=BBH", 2, 0, 0)
attempt("set link", ask, ROUTE, 16, struct.pack("=BxHiII", 0, 0, 1, 0, 1))
attempt("new link", ask, ROUTE, 16, struct.pack("=BxHiII", 0, 0, 0, 0, 0) + kind, CREATE)
attempt("new address", ask, ROUTE, 20, struct.pack("=BBBBIHH4s", 2, 8, 0, 0, 1, 8, 2, b"\\x7f\\0\\0\\x09"), CREATE)
attempt("new route", ask, ROUTE, 24, route, CREATE)
attempt("new rule", ask, ROUTE, 32, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 0, 0, 1, 0), CREATE)
attempt("number of a namespace", ask, ROUTE, 88, space)
attempt("destroy connections", ask, SOCK_DIAG, 21, struct.pack("=BBBxI", 2, 6, 0, 0xFFF) + bytes(48))
attempt("list policies", ask, XFRM, 21, bytes(64), DUMP)
attempt("read audit", ask, AUDIT, 1000)
attempt("set audit", ask, AUDIT, 1001, bytes(44))
attempt("list audit rules", ask, AUDIT, 1013)
attempt("follow audit", join, AUDIT, 1)
attempt("list tables", ask, NETFILTER, 10 << 8 | 1, nothing, DUMP)
attempt("list connections", ask, NETFILTER, 1 << 8 | 1, nothing, DUMP)
attempt("log packets", ask, NETFILTER, 4 << 8 | 1, bytes(4) + struct.pack("=HHB3x", 5, 1, 1))
attempt("queue packets", ask, NETFILTER, 3 << 8 | 2, bytes(4) + struct.pack("=HHBxH", 8, 1, 1, 0x200))
attempt("send an event", event)
"""
ABSENT = {"ENOENT", "EPROTONOSUPPORT", "ECONNREFUSED"}
"""Subsystems that this machine's kernel lacks, or that ignore other user namespaces, and connections that do not exist."""


@pytest.mark.parametrize(
    "spec", [{"network_mode": "none"}, {"network_mode": "host"}, {"userns_mode": "private"}], ids=str
)
def test_nothing_of_the_network_can_be_changed(host, spec):
    found = dict(line.rsplit(" ", 1) for line in host.python(PROBE, **spec).out.splitlines())
    assert len(found) == 17
    assert {name: said for name, said in found.items() if said != "EPERM" and said not in ABSENT} == {}
