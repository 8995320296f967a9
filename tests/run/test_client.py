"""A command whose supervisor dies."""

import os
import threading

import pytest

from composer.plan.options import Options
from composer.run import client as clients
from composer.run.client import Client, SupervisorLost
from composer.run.control import Control
from composer.run.protocol import End, Failure, Frames, Go, Note, Ready, Request, frame, request_of
from engine import control
from engine.errors import OtherVersion
from engine.paths import Roots


class Scripted:
    """Listens in place of the supervisor; sends each connection the next list of events, then closes it."""

    def __init__(self, roots, *scripts, wait=lambda: None):
        self.control = Control.open(roots.supervisor_socket("p"))
        self.heard, self.wait = [], wait
        self.thread = threading.Thread(target=self._serve, args=(scripts,))
        self.thread.start()

    def _serve(self, scripts):
        for script in scripts:
            sock, _ = self.control.listener.accept()
            frames = Frames()
            with sock:
                self._hear(sock, frames)
                self.wait()
                for event in script:
                    sock.sendall(frame(event))
                    if isinstance(event, Ready):
                        self._hear(sock, frames)

    def _hear(self, sock, frames):
        while True:
            for one in frames.feed(sock.recv(65536)):
                self.heard.append(request_of(one))
                return


@pytest.fixture
def roots(tmp_path):
    return Roots(str(tmp_path / "s"), str(tmp_path / "r"))


REQUEST = Request(options=Options(action="up"))


def test_the_request_is_repeated_when_the_supervisor_dies(roots):
    scripted = Scripted(roots, [Note("one")], [], [Note("two"), End()])
    events = list(Client(roots, "p", {}).perform(REQUEST))
    scripted.thread.join()
    assert events == [Note("one"), Note("two"), End()]
    assert scripted.heard == [REQUEST] * 3


def test_a_supervisor_that_is_killed_while_it_starts_is_started_again(roots, monkeypatch):
    class Killed:
        def __init__(self, *_):
            pass

        def wait(self):
            if starts.append(self) or len(starts) == 1:
                raise SupervisorLost("the supervisor of project p did not start")
            serving.append(Scripted(roots, [End()]))

        def close(self):
            pass

    starts, serving = [], []
    monkeypatch.setattr(clients, "Launch", Killed)
    client = Client(roots, "p", {})
    client.prepare()
    assert list(client.perform(REQUEST)) == [End()]
    serving[0].thread.join()
    assert len(starts) == 2


def test_a_stopped_supervisor_is_named(roots, monkeypatch):
    looked = threading.Event()
    monkeypatch.setattr(clients, "PATIENCE", 0.01)
    monkeypatch.setattr(control, "peer_is_stopped", lambda sock: looked.set() or True)
    scripted = Scripted(roots, [End()], wait=looked.wait)
    note, end = Client(roots, "p", {}).perform(REQUEST)
    scripted.thread.join()
    assert f"kill -CONT {os.getpid()}" in note.text
    assert end == End()


def test_stopped_supervisor_is_not_waited_for_forever(roots):
    scripted = Scripted(roots, *[[]] * clients.ATTEMPTS)
    with pytest.raises(SupervisorLost, match="died 4 times"):
        list(Client(roots, "p", {}).perform(REQUEST))
    scripted.thread.join()


def test_newer_supervisor_is_kept(roots):
    scripted = Scripted(roots, [Note("one")])
    events = Client(roots, "p", {}).perform(REQUEST)
    assert next(events) == Note("one")
    scripted.thread.join()
    with open(control.lock_of(scripted.control.path), "w") as file:
        file.write("1000.0.0")
    with pytest.raises(OtherVersion, match="run the command again"):
        next(events)


def test_ready_is_answered_when_the_command_has_attached(roots):
    attached = []
    scripted = Scripted(roots, [Ready("abc"), End(failures=(Failure(message="no"),), last=True)])
    events = list(Client(roots, "p", {}).perform(REQUEST, ready=attached.append))
    scripted.thread.join()
    assert attached == ["abc"]
    assert scripted.heard == [REQUEST, Go("abc")]
    assert events == [End(failures=(Failure(message="no"),), last=True)]


def test_supervisor_serves_after_adoption(roots):
    client = Client(roots, "p", {})
    assert not client.serves(print)
    adopting = Control.open(roots.supervisor_socket("p"))
    found = []
    asking = threading.Thread(target=lambda: found.append(client.serves(print)))
    asking.start()
    sock, _ = adopting.listener.accept()
    assert sock.recv(1) == b"" and not found
    sock.close()
    asking.join()
    assert found == [True]
    adopting.close()
    assert not client.serves(print)
