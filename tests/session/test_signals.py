"""Signals as a container's program finds them."""

import signal

import pytest

RESERVED = 0b11 << 31
"""The C library's own two (nptl(7)), which nobody can reach through it."""


@pytest.fixture
def impolite():
    """Whoever starts the keeper ignores a signal, as nohup and a shell's `&` do."""
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGQUIT, before)


def test_no_signal_is_ignored_or_blocked(impolite, box):
    shown = dict(line.split(":\t") for line in box.output("grep", "^Sig[BI]", "/proc/self/status").splitlines())
    assert int(shown["SigBlk"], 16) == 0
    assert int(shown["SigIgn"], 16) & ~RESERVED == 0
