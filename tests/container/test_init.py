"""init: true."""

import signal

import pytest

from engine.errors import StartFailed


def test_init_is_pid_1_and_parent_of_the_program(box):
    found = box.shell("echo $$; readlink /proc/1/exe; ls /proc/1/fd | wc -l", init=True)
    assert found.split("\n") == ["2", "/memfd:composer-init (deleted)", "3"]


def test_init_reaps_orphans(box):
    record = box.start(
        "sh", "-c", "for i in 1 2 3 4 5; do sh -c 'true & exec true'; done; touch /ready; sleep 1000", init=True
    )
    box.inside(record, "while ! [ -e /ready ]; do sleep 0.01; done")
    assert box.inside(record, "grep -l 'State:.Z' /proc/[0-9]*/status || true") == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGRTMIN + 3])
def test_init_forwards_signals(box, number):
    script = f"trap 'exit 9' {int(number)}; touch /ready; while :; do sleep 0.01; done"
    record = box.start("sh", "-c", script, init=True)
    box.inside(record, "while ! [ -e /ready ]; do sleep 0.01; done")
    box.do(box.session.signal(record.id, number))
    assert box.wait(record) == 9


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, 137), (signal.SIGTERM, 143), (signal.SIGSEGV, 139)])
def test_a_signal_is_the_exit_code(box, number, code):
    assert box.run("sh", "-c", f"kill -{int(number)} $$; exec sleep 1000", init=True)[0] == code


def test_an_unprepared_program_ends_by_the_stop_signal(box):
    record = box.start("sleep", "1000", init=True, stop_signal="SIGTERM")
    assert box.do(box.session.stop(record.id)).exit_code == 143


@pytest.mark.parametrize(
    ("program", "code", "why"),
    [
        ("none", 127, '"none": executable file not found in $PATH'),
        ("/none", 127, '"/none": stat /none: no such file or directory'),
        ("/etc/passwd", 126, '"/etc/passwd": permission denied'),
        ("/etc", 126, '"/etc": is a directory: permission denied'),
    ],
)
@pytest.mark.parametrize("tty", [False, True])
def test_a_program_that_cannot_be_executed_ends_the_container(box, program, code, why, tty):
    ended, text = box.run(program, init=True, tty=tty)
    assert (ended, text.splitlines()) == (code, [f"composer-init: exec: {why}"])


def test_an_invalid_working_directory_fails_the_start(box):
    record = box.create("true", init=True, working_dir="/etc/passwd")
    with pytest.raises(StartFailed, match="/etc/passwd"):
        box.do(box.session.start(record.id))


def test_with_a_terminal_and_another_user(box):
    code, text = box.run("sh", "-c", "id -u; tty; cat /proc/self/stat | cut -d' ' -f8", init=True, tty=True, user="web")
    assert code == 0 and text.split() == ["1000", "/dev/pts/0", text.split()[2]] and int(text.split()[2]) > 1
