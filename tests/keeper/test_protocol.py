"""Frames arrive however they are split, and invalid data harms no other client."""

import contextlib
import json
import os
import resource
import secrets
import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.control import connect, peer
from engine.keeper.launch import Launch
from engine.keeper.protocol import MAX_DESCRIPTORS, MAX_FRAME, MAX_HELD, Channel, framed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
MESSAGES = st.dictionaries(st.text(max_size=10).filter(lambda key: key != "fds"), JSON, max_size=5)
FRAMES = st.lists(st.tuples(MESSAGES, st.integers(0, 3)), max_size=8)
LIMITS = settings(max_examples=30, deadline=None)


@contextlib.contextmanager
def pair():
    ours, theirs = socket.socketpair()
    one, other = Channel(ours), Channel(theirs)
    try:
        yield one, other
    finally:
        one.close()
        other.close()


def opened():
    return len(os.listdir("/proc/self/fd"))


@LIMITS
@given(FRAMES)
def test_frames_arrive_with_their_own_descriptors(frames):
    before = opened()
    with pair() as (sender, receiver):
        for number, (message, count) in enumerate(frames):
            files = []
            for _ in range(count):
                fd = os.memfd_create("x")
                os.write(fd, str(number).encode())
                files.append(fd)
            sender.send(message, tuple(files))
            for fd in files:
                os.close(fd)
        # One read may return all of them, or each its own.
        for number, (message, count) in enumerate(frames):
            found, files = receiver.receive()
            assert found == message and len(files) == count
            for fd in files:
                assert os.pread(fd, 10, 0) == str(number).encode()
                os.close(fd)
    assert opened() == before


@LIMITS
@given(st.lists(MESSAGES, min_size=1, max_size=5), st.data())
def test_frames_arrive_in_any_pieces(messages, data):
    stream = b"".join(struct.pack(">I", len(text)) + text for text in (json.dumps(m).encode() for m in messages))
    with pair() as (sender, receiver):
        found, at = [], 0
        while at < len(stream):
            size = data.draw(st.integers(1, len(stream) - at))
            sender.sock.sendall(stream[at : at + size])
            at += size
            receiver.feed()
            while (frame := receiver.take()) is not None:
                found.append(frame[0])
        assert found == messages


@LIMITS
@given(st.binary(min_size=1, max_size=300))
def test_garbage_is_a_value_error_or_waits_for_more(garbage):
    with pair() as (sender, receiver):
        sender.sock.sendall(garbage)
        receiver.feed()
        try:
            while receiver.take() is not None:
                pass
        except ValueError:
            pass


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"1",
        b"null",
        b'{"a"',
        b"\xff\xff",
        b"[" * 100_000,
        b'{"fds":1}',
        b'{"fds":-1}',
        b'{"fds":"1"}',
        b'{"fds":true}',
    ],
)
def test_invalid_frames(body):
    with pair() as (sender, receiver):
        sender.sock.sendall(struct.pack(">I", len(body)) + body)
        with pytest.raises(ValueError):
            while receiver.take() is None:
                receiver.feed()


def test_a_frame_that_is_too_long_is_refused_before_it_comes():
    with pair() as (sender, receiver):
        sender.sock.sendall(struct.pack(">I", MAX_FRAME + 1))
        receiver.feed()
        with pytest.raises(ValueError, match="bytes"):
            receiver.take()


def test_descriptors_that_no_frame_wants_are_closed():
    before = opened()
    with pair() as (sender, receiver):
        sender.sock.sendall(b"")
        body = b"{}"
        socket.send_fds(sender.sock, [struct.pack(">I", len(body)) + body], [0, 1, 2])
        receiver.feed()
        assert receiver.take() == ({}, [])
        with pytest.raises(ValueError, match="belong to no frame"):
            receiver.take()
    assert opened() == before


def test_descriptors_over_the_limit_of_open_files():
    ours, theirs = socket.socketpair()
    with ours, theirs, open(os.devnull) as file:
        socket.send_fds(theirs, [framed({"re": 1}, (0, 0, 0))], [file.fileno()] * 3)
        channel, before = Channel(ours), resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                channel.feed()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        channel.close()


def test_descriptors_cannot_pile_up():
    before = opened()
    with pair() as (sender, receiver), pytest.raises(ValueError, match="more descriptors"):
        sender.sock.sendall(struct.pack(">I", 10_000))
        for _ in range(MAX_HELD):
            socket.send_fds(sender.sock, [b"x"], [0] * MAX_DESCRIPTORS)
            receiver.feed()
    assert opened() == before


# ── a real keeper ────────────────────────────────────────────────────────────────────────────────────────────────────


class Keeper:
    """A separate keeper that the test talks to frame by frame."""

    def __init__(self, roots):
        self.roots, self.group = roots, f"k{secrets.token_hex(4)}"
        self.path = roots.keeper_socket(self.group)
        Launch(roots, self.group).wait()
        self.steady = Channel(self.connect())
        self.pid, _ = peer(self.steady.sock)

    def connect(self):
        sock = connect(self.path)
        sock.settimeout(5)
        return sock

    def ask(self, do, descriptors=(), **fields):
        """One request over a new connection, and its answer."""
        channel = Channel(self.connect())
        try:
            channel.send({"n": 1, "do": do, **fields}, descriptors)
            while True:
                message, received = channel.receive()
                for fd in received:
                    os.close(fd)
                if "re" in message:
                    return message
        finally:
            channel.close()

    def descriptors(self):
        """How many descriptors the keeper has open."""
        self.steady.send({"n": 1, "do": "list"})
        self.steady.receive()
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def keeps(self, before):
        """Whether it has no more descriptors than `before`, once it has closed the unused ones."""
        return any(self.descriptors() <= before for _ in range(200))

    def alive(self):
        return "containers" in self.ask("list")

    def close(self):
        self.ask("leave")
        while self.steady.receive():  # it hangs up after it has removed its files
            pass
        self.steady.close()


@pytest.fixture(scope="module")
def keeper(roots):
    keeper = Keeper(roots)
    yield keeper
    keeper.close()
    with open(f"{os.path.dirname(keeper.path)}/keeper.log") as log:
        assert "Traceback" not in log.read()
    os.unlink(f"{os.path.dirname(keeper.path)}/keeper.log")
    os.rmdir(os.path.dirname(keeper.path))


REQUESTS = (
    "create",
    "start",
    "signal",
    "sockets",
    "list",
    "watch",
    "goodbye",
    "resize",
    "attach",
    "adopt",
    "exec",
    "none",
    "",
)


@settings(max_examples=25, deadline=None)
@given(garbage=st.binary(min_size=1, max_size=2000), count=st.integers(0, 4))
def test_a_keeper_outlives_garbage(keeper, garbage, count):
    before = keeper.descriptors()
    with keeper.connect() as sock:
        socket.send_fds(sock, [garbage], [0] * count)
    assert keeper.alive() and keeper.keeps(before)


@settings(max_examples=40, deadline=None)
@given(do=st.sampled_from(REQUESTS) | JSON, fields=MESSAGES, count=st.integers(0, 4))
def test_keeper_refuses_invalid_requests(keeper, do, fields, count):
    before = keeper.descriptors()
    answer = keeper.ask(
        do, (0,) * count, **{k: v for k, v in fields.items() if k not in ("n", "do", "self", "descriptors")}
    )
    assert "error" in answer or do in ("list", "watch", "goodbye")
    assert keeper.alive() and keeper.keeps(before)


@pytest.mark.parametrize("do", REQUESTS)
@pytest.mark.parametrize("fields", [{}, {"id": ["list"]}, {"id": "x", "bundle": {}}, {"id": "x", "bundle": "/dev/null"},
                                    {"id": "x", "bundle": "/etc/passwd", "pid": "one", "pid_start": None}])  # fmt: skip
def test_wrong_fields(keeper, do, fields):
    before = keeper.descriptors()
    answer = keeper.ask(do, (0, 1, 2), **fields)
    assert "error" in answer or do in ("list", "watch", "goodbye")
    assert keeper.keeps(before)


def test_stalled_client_does_not_block_others(keeper):
    with keeper.connect() as silent, keeper.connect() as halfway:
        halfway.sendall(struct.pack(">I", 100) + b'{"do"')
        assert keeper.alive()
        silent.sendall(b"\0")
        assert keeper.alive()


def test_a_request_without_a_number_is_not_answered(keeper):
    with keeper.connect() as sock:
        channel = Channel(sock)
        channel.send({"n": 0, "do": "list"})
        channel.send({"n": 7, "do": "list"})
        assert channel.receive()[0]["re"] == 7
