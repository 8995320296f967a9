"""The output of a process in a container, in our terminal."""

import socket

from composer.cli.terminal.process import show_frames


def test_the_output_of_a_program_that_leaves_its_input_unread(capfd):
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(b"input")
        theirs.sendall(b"\x01\0\0\0\0\0\0\x05hello\x02\0\0\0\0\0\0\x03bad")
        theirs.close()  # a reset, because of the input
        show_frames(ours.fileno())
    assert capfd.readouterr() == ("hello", "bad")
