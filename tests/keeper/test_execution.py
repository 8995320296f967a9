"""What a keeper makes of the reports of an entering process, which a process that traces it can forge."""

import os
import struct

import pytest

from engine.keeper.child import setup
from engine.keeper.execution import Execution
from engine.keeper.protocol import framed


def settled(data, *, descriptors=(), tty=False):
    """The keeper's answer after these bytes and the end of the stream."""
    ours, theirs = setup.channel_pair()
    ours.sock.setblocking(False)
    answers = []
    execution = Execution(ours, 42, (), lambda *answer: answers.append(answer), lambda _: None, tty=tty)
    if descriptors:
        theirs.send({"event": "terminal"}, descriptors)
    theirs.sock.send(data)
    theirs.close()
    while execution.read():
        pass
    execution.settle()
    ((answer, _),) = answers
    return answer


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", 3) + b"[1]",
        struct.pack(">I", 2**32 - 1),
        struct.pack(">I", 3) + b"\xff{}",
        framed({"event": "failed", "exit_code": {}}),
        framed({"event": "terminal", "fds": 3}),
        framed({}),
        framed({"event": "failed", "error": 1, "exit_code": "x"}),
    ],
)
def test_invalid_reports_end_the_stream(data):
    assert settled(data) == {"pid": 42}


def test_unexpected_descriptors_are_closed():
    before = len(os.listdir("/proc/self/fd"))
    null = os.open("/dev/null", os.O_RDONLY)
    assert settled(b"", descriptors=(null,)) == {"pid": 42}
    assert settled(b"", descriptors=(null, null), tty=True)["exit_code"] == 125
    os.close(null)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_process_that_ends_before_it_has_a_terminal_failed():
    assert settled(b"", tty=True) == {"error": "the process ended before it had a terminal", "exit_code": 125}
