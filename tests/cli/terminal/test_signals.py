import os
import select
import signal
import threading

import pytest

from composer.cli.terminal.signals import listening


@pytest.fixture
def arrived():
    """A function that is called with a signal's number, and one that waits for the number."""
    read, write = os.pipe()

    def taken():
        assert select.select([read], [], [], 30)[0], "the signal did not arrive"
        return os.read(read, 1)[0]

    yield lambda number: os.write(write, bytes([number])), taken
    os.close(read)
    os.close(write)


def elsewhere(number):
    """Deliver a signal without interrupting the main thread's system call, like a signal that arrives just before the
    call."""
    thread = threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), number))
    thread.start()
    thread.join()


def test_a_signal_that_interrupts_nothing_is_acted_on(arrived):
    act, taken = arrived
    with listening((signal.SIGUSR1,), act):
        elsewhere(signal.SIGUSR1)
        assert taken() == signal.SIGUSR1


def test_listening_nests(arrived):
    act, taken = arrived
    with listening((signal.SIGUSR1,), act):
        with listening((signal.SIGUSR2,), lambda number: act(number + 100)):
            elsewhere(signal.SIGUSR1)
            assert taken() == signal.SIGUSR1
            elsewhere(signal.SIGUSR2)
            assert taken() == signal.SIGUSR2 + 100
        elsewhere(signal.SIGUSR1)
        assert taken() == signal.SIGUSR1


def test_signal_handlers_are_restored(arrived):
    before = signal.getsignal(signal.SIGUSR1)
    with listening((signal.SIGUSR1,), arrived[0]):
        assert signal.getsignal(signal.SIGUSR1) != before
    assert signal.getsignal(signal.SIGUSR1) == before
    assert signal.set_wakeup_fd(-1) == -1
