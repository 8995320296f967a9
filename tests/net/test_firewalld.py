"""firewalld and the message bus, played by a thread on a socket; scripts/firewall-test uses the real ones."""

import contextlib
import os
import socket
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import OperationFailed
from engine.net.firewall import dbus, firewalld

HELLO, OWNER = "Hello", "NameHasOwner"


class Firewalld:
    """What it was asked, and what it has. A signal precedes each answer, as on a real bus."""

    def __init__(self, path, *, there=True):
        self.there, self.calls, self.failing = there, [], ""
        self.zones, self.policies, self.interfaces = {}, {}, set()
        self.active = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            peer, _ = self._listener.accept()
            with peer, contextlib.suppress(OSError):
                assert peer.recv(100).endswith(str(os.geteuid()).encode().hex().encode() + b"\r\n")
                peer.sendall(b"OK 1234\r\n")
                assert peer.recv(7, socket.MSG_WAITALL) == b"BEGIN\r\n"
                while head := peer.recv(16, socket.MSG_WAITALL):
                    size, serial, fields_size = struct.unpack_from("<III", head, 4)
                    rest = peer.recv(fields_size + -fields_size % 8 + size, socket.MSG_WAITALL)
                    fields = dict(dbus._Reader(head + rest[:fields_size], "<", 12).read("a(yv)"))
                    body = dbus._Reader(rest[len(rest) - size :], "<")
                    values = [body.read(kind) for kind in dbus._types(fields.get(8, ""))]
                    peer.sendall(message(4, 0, "s", [":1.1"]) + self._answer(serial, fields[3], values))

    def _answer(self, serial, member, values):
        self.calls.append(member)
        if member == self.failing:
            return message(3, serial, "s", ["INVALID_ZONE: composer"], name="org.fedoraproject.FirewallD1.Exception")
        match member:
            case "Hello":
                return message(2, serial, "s", [":1.7"])
            case "NameHasOwner":
                return message(2, serial, "b", [self.there])
            case "getZones" | "getPolicies":
                found = self.zones if member == "getZones" else self.policies
                return message(2, serial, "as", [sorted(found.keys() & self.active)])
            case "getPolicySettings":
                settings = self.policies[values[0]]
                kinds = {str: "s", list: "as"}
                return message(2, serial, "a{sv}", [{k: (kinds[type(v)], v) for k, v in settings.items()}])
            case "addZone2" | "addPolicy":
                found = self.zones if member == "addZone2" else self.policies
                if values[0] in found:
                    return message(3, serial, "s", [f"NAME_CONFLICT: {values[0]}"], name="some.Exception")
                found[values[0]] = values[1]
                return message(2, serial, "o", ["/org/fedoraproject/FirewallD1/config/1"])
            case "getPolicyByName":
                return message(2, serial, "o", ["/org/fedoraproject/FirewallD1/config/policy/1"])
            case "update":
                self.policies["composer-out"] = values[0]
            case "reload":
                self.active = self.zones.keys() | self.policies.keys()
            case "getInterfaces":
                return message(2, serial, "as", [sorted(self.interfaces)])
            case "changeZoneOfInterface":
                self.interfaces.add(values[1])
            case "removeInterface":
                self.interfaces.discard(values[1])
        return message(2, serial)


def message(kind, answers, signature="", values=(), name=""):
    body = bytearray()
    for one, value in zip(dbus._types(signature), values, strict=True):
        dbus._write(body, one, value)
    head = bytearray(struct.pack("<cBBBII", b"l", kind, 0, 1, len(body), 9))
    fields = [(5, ("u", answers))] if answers else [(3, ("s", "NameAcquired"))]
    fields += ([(8, ("g", signature))] if signature else []) + ([(4, ("s", name))] if name else [])
    dbus._write(head, "a(yv)", fields)
    return bytes(head) + bytes(-len(head) % 8) + bytes(body)


@pytest.fixture
def bus(tmp_path, monkeypatch):
    monkeypatch.setattr(firewalld, "_SOCKET", str(tmp_path / "bus"))
    return str(tmp_path / "bus")


def test_bridges_join_a_zone_that_is_made_once(bus):
    there = Firewalld(bus)
    assert firewalld.admit(["cmp-1", "cmp-2"])
    assert there.interfaces == {"cmp-1", "cmp-2"}
    assert there.zones["composer"]["target"] == "ACCEPT"
    assert there.policies["composer-out"]["ingress_zones"] == ["ANY"]
    assert there.policies["composer-out"]["egress_zones"] == ["composer"]
    there.calls.clear()
    assert firewalld.admit(["cmp-1", "cmp-2", "cmp-3"])
    assert there.interfaces == {"cmp-1", "cmp-2", "cmp-3"}
    assert there.calls.count("changeZoneOfInterface") == 1
    assert "reload" not in there.calls
    firewalld.dismiss(["cmp-1", "cmp-3"])
    assert there.interfaces == {"cmp-2"}


def test_what_a_killed_process_left_is_completed(bus):
    there = Firewalld(bus)
    there.zones["composer"] = {"target": "ACCEPT"}
    there.policies["composer-out"] = {"target": "CONTINUE"}
    assert firewalld.admit(["cmp-1"])
    assert there.policies["composer-out"]["target"] == "ACCEPT"
    assert there.interfaces == {"cmp-1"}


def test_a_refusal_names_call_and_reason(bus):
    there = Firewalld(bus)
    there.failing = "changeZoneOfInterface"
    with pytest.raises(OperationFailed, match="firewalld: changeZoneOfInterface: INVALID_ZONE: composer"):
        firewalld.admit(["cmp-1"])


def test_without_firewalld_or_bus_other_means_are_used(bus):
    assert not firewalld.admit(["cmp-1"])
    firewalld.dismiss(["cmp-1"])
    there = Firewalld(bus, there=False)
    assert not firewalld.admit(["cmp-1"])
    assert there.calls == [HELLO, OWNER]


@pytest.mark.parametrize("answer", [b"", b"REJECTED\r\n", b"x" * 5000, b"OK 1\r\nl\2\0\1" + b"\xff" * 12])
def test_a_bus_that_does_not_behave_is_no_bus(bus, answer):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(bus)
    listener.listen()

    def serve():
        peer, _ = listener.accept()
        peer.sendall(answer)
        peer.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while peer.recv(100):
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    assert not firewalld.admit(["cmp-1"])
    thread.join()
    listener.close()


variants = st.one_of(
    st.tuples(st.just("s"), st.text()),
    st.tuples(st.just("b"), st.booleans()),
    st.tuples(st.just("as"), st.lists(st.text())),
    st.tuples(st.just("t"), st.integers(0, 2**64 - 1)),
)


@given(st.binary(max_size=9), st.dictionaries(st.text(), variants), st.lists(st.tuples(st.text(), st.text())))
def test_values_come_back_as_written(start, settings, pairs):
    data = bytearray(start)
    dbus._write(data, "a{sv}", settings)
    dbus._write(data, "a(ss)", pairs)
    reader = dbus._Reader(bytes(data), "<", len(start))
    assert reader.read("a{sv}") == {key: value for key, (_, value) in settings.items()}
    assert reader.read("a(ss)") == pairs
