"""exec and attach as a command uses them: streams, terminals, sizes, signals, ends of input, exit codes."""

import errno
import os
import resource
import select
import signal
import socket

import pytest

from engine.errors import NotFound, OperationFailed, StartFailed, WrongState
from engine.spec.container import ExecSpec
from tests.session.box import PATIENCE


def frames(fd):
    """(stdout, stderr) of an attach stream, to its end."""
    held, found = b"", {1: b"", 2: b""}
    while data := os.read(fd, 65536):
        held += data
        while len(held) >= 8 and len(held) >= (size := 8 + int.from_bytes(held[4:8], "big")):
            found[held[0]] += held[8:size]
            held = held[size:]
    return found[1], found[2]


def until(fd, text):
    """The data from `fd` until it contains `text`."""
    seen = b""
    while text not in seen:
        assert select.select([fd], [], [], PATIENCE)[0], seen
        seen += os.read(fd, 65536)
    return seen


def terminal(box, record, *command, **fields):
    null = os.open("/dev/null", os.O_RDWR)
    try:
        spec = ExecSpec(args=command, tty=True, **fields)
        return box.engine.exec_process(box.group, record.id, spec, stdio=(null, null, null))
    finally:
        os.close(null)


@pytest.mark.parametrize("capabilities", [(), ("SYS_PTRACE",)])
def test_a_terminal_of_exec_belongs_to_its_user(box, capabilities):
    record = box.start(cap_add=capabilities)
    script = "echo by name > $(tty); stat -c '%u:%g' $(tty)"
    process = terminal(box, record, "sh", "-c", script, user="1000:1000")
    assert until(process.stream, b"1000:5").replace(b"\r", b"").strip() == b"by name\n1000:5"
    assert process.wait() == 0
    process.close()
    assert box.exec(record, "stat", "-c", "%u", "/dev/null", user="1000")[1] == "0\n"


def test_exec_has_its_own_streams(box):
    record = box.start()
    assert box.exec(record, "sh", "-c", "cat; echo err >&2; exit 3", stdin=b"in") == (3, "in", "err\n")
    assert box.exec(record, "sh", "-c", "kill -9 $$")[0] == 137
    assert box.exec(record, "env", environment={"A": "b", "PATH": None})[1].split("\n")[0:1] != [""]


@pytest.mark.parametrize(
    ("command", "fields", "code", "text"),
    [
        (("none",), {}, 127, "executable file not found in $PATH"),
        (("/none",), {}, 127, "no such file or directory"),
        (("/etc",), {}, 126, "permission denied"),
        (("true",), {"working_dir": "/none"}, 127, "/none"),
        (("true",), {"working_dir": "/bin/sh"}, 126, "/bin/sh"),
        (("true",), {"user": "nobody"}, 125, "nobody"),
    ],
)
def test_missing_program_is_reported(box, command, fields, code, text):
    record = box.start()
    with pytest.raises(StartFailed) as raised:
        box.exec(record, *command, **fields)
    assert raised.value.exit_code == code and text in str(raised.value)


@pytest.mark.parametrize("spare", range(2))
def test_a_limit_of_open_files_is_no_stopped_container(box, spare):
    record = box.start()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + spare, before[1]))
    try:
        with pytest.raises((OSError, OperationFailed)) as raised:
            box.engine.attach(box.group, record.id)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert raised.value.errno == errno.EMFILE


def test_exec_needs_a_running_container(box):
    record = box.create("true")
    with pytest.raises(WrongState, match="is not running"):
        box.exec(record, "true")
    with pytest.raises(WrongState, match="is not running"):
        box.engine.attach(box.group, record.id)
    record = box.start()
    box.do(box.session.pause(record.id))
    with pytest.raises(WrongState, match="is paused"):
        box.exec(record, "true")
    with pytest.raises(NotFound):
        box.engine.attach(box.group, "0" * 64)


def test_exec_identity_environment_and_directory(box):
    record = box.start(environment={"A": "1", "B": "2"}, working_dir="/tmp", group_add=("7",))
    assert box.inside(record, "id -u; pwd; echo $A$B$C$HOME", environment={"B": None, "C": "3"}) == "0\n/tmp\n13/root"
    found = box.inside(record, "id -u; id -g; id -G; pwd; echo $HOME", user="web", working_dir="/etc")
    assert found == "1000\n1000\n1000\n/etc\n/"
    assert box.inside(record, "id -u; id -G", user="5:6") == "5\n6"


def test_exec_privileged_has_all_capabilities(box):
    record = box.start(cap_drop=("ALL",))
    with open("/proc/self/status") as file:
        everything = next(line.split()[1] for line in file if line.startswith("CapBnd"))
    assert box.inside(record, "awk '/CapEff/{print $2}' /proc/self/status") == "0" * 16
    assert box.inside(record, "awk '/CapEff/{print $2}' /proc/self/status", privileged=True) == everything


def test_exec_on_a_terminal(box):
    record = box.start()
    process = terminal(box, record, "sh", "-c", "tty; read x; stty size; echo got $x; exit 4")
    assert until(process.stream, b"/dev/pts/")
    process.resize(33, 77)
    os.write(process.stream, b"hello\n")
    assert b"33 77\r\ngot hello" in until(process.stream, b"got hello")
    assert select.select([process.fileno()], [], [], PATIENCE)[0]
    assert process.wait() == 4
    process.close()


def test_keys_of_a_terminal_are_signals(box):
    process = terminal(
        box, box.start(), "sh", "-c", "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.01; done"
    )
    until(process.stream, b"ready")
    os.write(process.stream, b"\x03")
    until(process.stream, b"interrupted")
    assert process.wait() == 5
    process.close()


def test_signals_reach_the_process_of_exec(box):
    record = box.start()
    process = terminal(box, record, "sh", "-c", "trap 'exit 6' USR1; echo ready; while :; do sleep 0.01; done")
    until(process.stream, b"ready")
    process.signal(signal.SIGUSR1)
    assert process.wait() == 6
    process.signal(signal.SIGUSR1)
    process.close()


def test_attach_gives_framed_output_and_the_exit_code(box):
    record = box.start("sh", "-c", "read line; echo got $line; echo bad >&2; exit 7", stdin_open=True)
    process = box.engine.attach(box.group, record.id)
    os.write(process.stream, b"text\n")
    assert frames(process.stream) == (b"got text\n", b"bad\n")
    assert select.select([process.fileno()], [], [], PATIENCE)[0]
    assert process.wait() == 7
    process.close()
    assert box.wait(record) == 7


def end_of_input(process):
    with socket.socket(fileno=os.dup(process.stream)) as stream:
        stream.shutdown(socket.SHUT_WR)


def test_stdin_once_closes_input(box):
    record = box.start("wc", "-c", stdin_open=True, stdin_once=True)
    process = box.engine.attach(box.group, record.id)
    data = bytes(3_000_000)
    while data:
        data = data[os.write(process.stream, data) :]
    end_of_input(process)
    assert frames(process.stream)[0] == b"3000000\n"
    assert process.wait() == 0
    process.close()


def test_stdin_stays_open_for_the_next_client(box):
    record = box.start("sh", "-c", "read a; read b; echo $a $b", stdin_open=True)
    for word in (b"one\n", b"two\n"):
        process = box.engine.attach(box.group, record.id)
        os.write(process.stream, word)
        end_of_input(process)
        if word == b"two\n":
            assert frames(process.stream)[0] == b"one two\n"
        process.close()
    assert box.wait(record) == 0


def test_without_stdin_open_there_is_no_input(box):
    assert box.output("cat") == ""
    record = box.start("sh", "-c", "sleep 1000")
    process = box.engine.attach(box.group, record.id)
    os.write(process.stream, b"nobody reads this\n")
    process.signal(signal.SIGKILL)
    assert process.wait() == 137
    process.close()


def test_attach_to_a_terminal(box):
    record = box.start("sh", "-c", "echo $TERM; read x; stty size; echo got $x", tty=True, stdin_open=True)
    process = box.engine.attach(box.group, record.id)
    process.resize(22, 44)
    os.write(process.stream, b"hello\n")
    assert b"22 44\r\ngot hello\r\n" in until(process.stream, b"got hello\r\n")
    assert process.wait() == 0
    process.resize(1, 1)
    process.close()
    assert "xterm" in box.log(record)


def test_detach_of_one_of_two_clients(box):
    record = box.start("sh", "-c", "read x; echo $x; read x; echo $x", stdin_open=True)
    first, second = (box.engine.attach(box.group, record.id) for _ in range(2))
    os.write(first.stream, b"a\n")
    assert until(first.stream, b"a\n") and until(second.stream, b"a\n")
    first.close()
    os.write(second.stream, b"b\n")
    assert until(second.stream, b"b\n")
    assert second.wait() == 0
    second.close()


def test_executions_leave_no_descriptors(box):
    record = box.start()
    for _ in range(20):
        assert box.exec(record, "true")[0] == 0
    assert box.inside(record, "set -- /proc/[0-9]*; echo $#") == "2"  # sleep and sh
