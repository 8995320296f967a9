"""`run`: a new container, after the dependencies of its service; its output, input and exit code are ours."""

import json
import os
import pty
import signal
import subprocess
import termios
import time

import pytest

from tests.fault.victims import find


def terminal(composer, *words, typed=b""):
    """Run a command on a terminal; returns everything that it printed, and its exit code."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (31, 101))
    process = subprocess.Popen(
        composer.command(*words), cwd=composer.folder, env={**composer.environ, "TERM": "xterm"},
        stdin=slave, stdout=slave, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
        if typed and (b"$ " in shown or b"# " in shown):
            os.write(master, typed)
            typed = b""
    os.close(master)
    return shown.decode(), process.wait(timeout=30)


def test_dependencies_first_and_the_exit_code(composer):
    done = composer("run", "--rm", "-T", "tool", code=4)
    assert done.out == "tool\n"
    assert composer.ps()["db"][0]["Health"] == "healthy"
    assert set(composer.ps("-a")) == {"db"}


def test_no_deps(composer):
    composer("run", "--rm", "-T", "--no-deps", "tool", code=4)
    assert composer.ps("-a") == {}


def test_a_large_input_arrives_whole(composer):
    text = "".join(f"{number}\n" for number in range(200_000))
    done = composer("run", "--rm", "-T", "--no-deps", "tool", "sh", "-c", "sleep 0.2; cat", stdin=text)
    assert done.out == text


@pytest.mark.parametrize("words", [("tool", "no-such-user"), ("-u", "no-such-user", "tool", "true")])
@pytest.mark.parametrize("how", ["-T", "-d"])
def test_failed_start_exits_with_1_and_leaves_nothing(composer, how, words):
    done = composer("run", "--rm", how, "--no-deps", *words, code=1)
    assert "no-such-user" in done.err
    assert composer("ps", "-aq").out == ""


def test_a_name_in_use_is_an_error_and_its_container_stays(composer):
    first = composer("run", "-d", "--no-deps", "--name", f"{composer.name}-x", "tool", "sleep", "1000").out
    done = composer("run", "--rm", "-T", "--no-deps", "--name", f"{composer.name}-x", "tool", "true", code=1)
    assert "is already in use by container" in done.err
    assert composer("ps", "-aq", "--no-trunc").out == first


@pytest.mark.parametrize(("program", "code"), [("no-such", 127), ("/etc", 126)])
def test_with_an_init_a_program_that_cannot_be_executed_is_an_exit_code(composer, program, code):
    done = composer("run", "--rm", "-T", "--no-deps", "db", program, code=code)
    assert f'composer-init: exec: "{program}": ' in done.err
    assert composer("ps", "-aq").out == ""


def test_detached_oneoff_is_removed(composer):
    container = composer("run", "--rm", "-d", "--no-deps", "tool", "sleep", "0.2").out.strip()
    assert len(container) == 64
    deadline = time.monotonic() + 20
    while container in composer("ps", "-a", "--format", "json").out:
        assert time.monotonic() < deadline


def test_a_build_is_logged_on_stdout_but_by_run_on_stderr(composer):
    inline = "FROM busybox\nRUN echo built-here > /f\n"
    project = json.dumps({"services": {"made": {"build": {"dockerfile_inline": inline}, "command": ["cat", "/f"]}}})
    assert "RUN echo built-here" in composer("-f", "-", "build", stdin=project).out
    (composer.folder / "made.yaml").write_text(project)
    done = composer("-f", "made.yaml", "run", "--rm", "-T", "--build", "made")
    assert done.out == "built-here\n"
    assert "RUN echo built-here" in done.err
    composer("-f", "made.yaml", "down", "--rmi", "local")


def test_detached_oneoff_keeps_stdin_open(composer):
    """As in docker compose: a client may attach later."""
    composer("run", "-d", "--no-deps", "--name", "open", "tool", "cat")
    composer("run", "-d", "--no-deps", "--name", "closed", "-i=false", "tool", "cat")
    deadline = time.monotonic() + 20
    while (states := composer("ps", "-a", "--format", "{{.Name}} {{.State}}").out) != "closed exited\nopen running\n":
        assert time.monotonic() < deadline, states


def test_a_terminal(composer):
    shown, code = terminal(composer, "run", "--rm", "--no-deps", "tool", "sh", typed=b"tty; exit 6\n")
    assert "/dev/pts/0" in shown
    assert code == 6


def test_exec_on_a_terminal(composer):
    composer("up", "-d", "db")
    shown, code = terminal(composer, "exec", "db", "sh", typed=b"test -t 0 && echo yes it is; exit 5\n")
    assert "yes it is" in shown
    assert code == 5


def test_a_terminal_has_its_size_before_the_program_starts(composer):
    composer("up", "-d", "db")
    for words in (("exec", "db"), ("run", "--rm", "--no-deps", "tool")):
        shown, _ = terminal(composer, *words, "stty", "size")
        assert shown == "31 101\r\n"


def test_oneoff_supervisor_opens_the_database_alone(composer):
    """A fork of a command with the database open would lack its locks, and the next command would truncate the index of
    its log."""
    composer("run", "--rm", "-d", "--no-deps", "tool", "sleep", "1000")
    (pid,) = find(composer, "supervisor")
    index = os.stat(f"{composer.roots.state}/composer.db-shm").st_ino
    with open("/proc/locks") as file:
        assert any(line.split()[4] == str(pid) and line.split()[5].endswith(f":{index}") for line in file)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_signal_leaves_the_terminal_as_it_was_and_nothing_behind(composer, number):
    """A program that ignores the signal is killed; the terminal's modes are compared."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    program = "trap 'exit 7' TERM HUP; echo ready; while :; do sleep 0.1; done"
    process = subprocess.Popen(
        composer.command("run", "--rm", "--no-deps", "tool", "sh", "-c", program),
        cwd=composer.folder, env={**composer.environ, "TERM": "xterm"},
        stdin=slave, stdout=slave, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    shown = b""
    while b"ready" not in shown:
        shown += os.read(master, 65536)
    process.send_signal(number)
    assert process.wait(timeout=30) == (137 if number == signal.SIGQUIT else 7)
    assert termios.tcgetattr(slave) == before
    assert composer.ps("-a") == {}
    os.close(master)
    os.close(slave)


def test_dependencies_that_run_are_named(composer):
    composer("up", "-d", "db")
    assert "-db-1 Running" in composer("run", "--rm", "-T", "tool", code=4).err


def controlled(composer, *words):
    """A command on a terminal that controls it, so that typed characters are signals; the process and our end."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", *composer.command(*words)], cwd=composer.folder, env={**composer.environ, "TERM": "xterm"},
        stdin=slave, stdout=slave, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(slave)
    return process, master


def shows(master, text):
    shown = b""
    while text not in shown:
        shown += os.read(master, 65536)


def test_without_input_ctrl_c_is_a_signal(composer):
    program = "trap 'exit 9' INT; echo ready; while :; do sleep 0.1; done"
    process, master = controlled(composer, "run", "--rm", "-i=false", "--no-deps", "tool", "sh", "-c", program)
    shows(master, b"ready")
    os.write(master, b"\x03")
    assert process.wait(timeout=30) == 9
    os.close(master)
    assert composer.ps("-a") == {}


def test_a_detached_container_runs_on_and_is_removed_at_its_end(composer):
    program = "echo ready; until [ -e /end ]; do sleep 0.1; done"
    process, master = controlled(composer, "run", "--rm", "--no-deps", "tool", "sh", "-c", program)
    shows(master, b"ready")
    os.write(master, b"\x10\x11")
    assert process.wait(timeout=30) == 0
    os.close(master)
    assert composer.ps("-a")["tool"][0]["State"] == "running"
    composer("exec", "-T", "tool", "touch", "/end")
    _wait_until_gone(composer)


def test_a_container_is_removed_at_its_end_although_its_client_was_killed(composer):
    program = "echo ready; until [ -e /end ]; do sleep 0.1; done"
    process = subprocess.Popen(
        composer.command("run", "--rm", "-T", "--no-deps", "tool", "sh", "-c", program),
        cwd=composer.folder, env=composer.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.wait()
    composer("exec", "-T", "tool", "touch", "/end")
    _wait_until_gone(composer)
    process.stdout.close()


def _wait_until_gone(composer):
    deadline = time.monotonic() + 20
    while composer.ps("-a"):
        assert time.monotonic() < deadline
