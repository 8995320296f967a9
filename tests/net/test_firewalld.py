"""firewalld and the message bus, simulated by a thread on a socket; scripts/firewall-test uses the real ones."""

import contextlib
import itertools
import os
import socket
import threading

import pytest
from jeepney import DBusAddress, HeaderFields, Parser, new_error, new_method_return, new_signal

from engine.errors import OperationFailed
from engine.net.firewall import firewalld

HELLO, OWNER = "Hello", "NameHasOwner"


class Firewalld:
    """The requests to it, and its state. A signal precedes each answer, as on a real bus."""

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
                login = b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n"
                assert peer.recv(len(login), socket.MSG_WAITALL) == login
                peer.sendall(b"OK 1234\r\n")
                assert peer.recv(7, socket.MSG_WAITALL) == b"BEGIN\r\n"
                parser, serials = Parser(), itertools.count(1)
                signal = new_signal(DBusAddress("/", "a.b", "a.b"), "NameAcquired", "s", (":1.1",))
                while data := peer.recv(1 << 16):
                    for call in parser.feed(data):
                        answer = self._answer(call, call.header.fields[HeaderFields.member], call.body)
                        peer.sendall(signal.serialise(next(serials)) + answer.serialise(next(serials)))

    def _answer(self, call, member, values):
        self.calls.append(member)
        if member == self.failing:
            return new_error(call, "org.fedoraproject.FirewallD1.Exception", "s", ("INVALID_ZONE: composer",))
        match member:
            case "Hello":
                return new_method_return(call, "s", (":1.7",))
            case "NameHasOwner":
                return new_method_return(call, "b", (self.there,))
            case "getZones" | "getPolicies":
                found = self.zones if member == "getZones" else self.policies
                return new_method_return(call, "as", (sorted(found.keys() & self.active),))
            case "getPolicySettings":
                return new_method_return(call, "a{sv}", (self.policies[values[0]],))
            case "addZone2" | "addPolicy":
                found = self.zones if member == "addZone2" else self.policies
                if values[0] in found:
                    return new_error(call, "some.Exception", "s", (f"NAME_CONFLICT: {values[0]}",))
                found[values[0]] = values[1]
                return new_method_return(call, "o", ("/org/fedoraproject/FirewallD1/config/1",))
            case "getPolicyByName":
                return new_method_return(call, "o", ("/org/fedoraproject/FirewallD1/config/policy/1",))
            case "update":
                self.policies["composer-out"] = values[0]
            case "reload":
                self.active = self.zones.keys() | self.policies.keys()
            case "getInterfaces":
                return new_method_return(call, "as", (sorted(self.interfaces),))
            case "changeZoneOfInterface":
                self.interfaces.add(values[1])
            case "removeInterface":
                self.interfaces.discard(values[1])
        return new_method_return(call)


@pytest.fixture
def bus(tmp_path, monkeypatch):
    monkeypatch.setattr(firewalld, "_SOCKET", str(tmp_path / "bus"))
    return str(tmp_path / "bus")


def test_bridges_join_a_zone_that_is_made_once(bus):
    there = Firewalld(bus)
    assert firewalld.admit(["cmp-1", "cmp-2"])
    assert there.interfaces == {"cmp-1", "cmp-2"}
    assert there.zones["composer"]["target"] == ("s", "ACCEPT")
    assert there.policies["composer-out"]["ingress_zones"] == ("as", ["ANY"])
    assert there.policies["composer-out"]["egress_zones"] == ("as", ["composer"])
    there.calls.clear()
    assert firewalld.admit(["cmp-1", "cmp-2", "cmp-3"])
    assert there.interfaces == {"cmp-1", "cmp-2", "cmp-3"}
    assert there.calls.count("changeZoneOfInterface") == 1
    assert "reload" not in there.calls
    firewalld.dismiss(["cmp-1", "cmp-3"])
    assert there.interfaces == {"cmp-2"}


def test_interrupted_change_is_completed(bus):
    there = Firewalld(bus)
    there.zones["composer"] = {"target": ("s", "ACCEPT")}
    there.policies["composer-out"] = {"target": ("s", "CONTINUE")}
    assert firewalld.admit(["cmp-1"])
    assert there.policies["composer-out"]["target"] == ("s", "ACCEPT")
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
def test_misbehaving_bus_is_ignored(bus, answer):
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
