"""The signal settings of a container's program."""

import signal

import pytest

RESERVED = 0b11 << 31
"""The C library's own two (nptl(7)), which cannot be changed through it."""


@pytest.fixture
def impolite():
    """The process that starts the keeper ignores a signal, as with nohup and a shell's `&`."""
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGQUIT, before)


def test_no_signal_is_ignored_or_blocked(impolite, box):
    shown = dict(line.split(":\t") for line in box.output("grep", "^Sig[BI]", "/proc/self/status").splitlines())
    assert int(shown["SigBlk"], 16) == 0
    assert int(shown["SigIgn"], 16) & ~RESERVED == 0
