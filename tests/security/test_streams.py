"""Standard streams: no descriptor of a container's process is an inode of the host, however it was started."""

import os
import re
import stat

import pytest

from engine.spec.container import ExecSpec
from tests.build.conftest import builder, busybox, context, images, run

__all__ = ["builder", "busybox", "context", "images", "run"]

LOOK = (
    'for n in 0 1 2; do stat -L -c "$n %F %t:%T %d" /proc/self/fd/$n; readlink /proc/self/fd/$n; done; '
    "stat -c '/dev %d' /dev"
)

WAYS = {
    "script": {},
    "fork": {"sysctls": {"kernel.shm_rmid_forced": "1"}},
    "terminal": {"tty": True},
    "init": {"init": True},
    "input": {"stdin_open": True},
    "user": {"user": "web"},
    "user namespace": {"userns_mode": "private"},
    "user namespace and terminal": {"userns_mode": "private", "tty": True},
    "privileged": {"privileged": True},
}


def own(text):
    """Every stream is an anonymous pipe, or a node in the container's own /dev."""
    lines = [line for line in text.replace("\r", "").splitlines() if line]
    device = next(line.split()[1] for line in lines if line.startswith("/dev "))
    for number in range(3):
        place = next(n for n, line in enumerate(lines) if line.startswith(f"{number} "))
        kind, numbers, dev = re.match(r"\d (.*) (\w+:\w+) (\d+)$", lines[place]).groups()
        link = lines[place + 1]
        if kind == "fifo":
            assert link.startswith("pipe:["), lines
        elif numbers == "1:3":
            assert link == "/dev/null" and dev == device, lines
        else:  # a terminal of the container's own devpts
            assert kind == "character special file" and link.startswith("/dev/pts/"), lines
            assert int(dev) != os.stat("/dev/pts").st_dev, lines
    return True


@pytest.mark.parametrize("way", WAYS)
def test_a_containers_first_process(host, way):
    record = host.start("sh", "-c", LOOK, **WAYS[way])
    host.end_of(record)
    assert own(host.output(record))


@pytest.mark.parametrize("way", WAYS)
def test_exec_and_hooks(host, way, tmp_path):
    record = host.sleep(**WAYS[way])
    assert own(host.exec(record, "sh", "-c", LOOK).out)
    before = [os.stat(path) for path in streams_of_a_caller(tmp_path)]
    found = tmp_path / "file"
    fifo = os.open(tmp_path / "fifo", os.O_RDWR)
    with open(found, "r+b") as file:
        for stdio in (
            (fifo, file.fileno(), file.fileno()),
            (-1, file.fileno(), fifo),
            (file.fileno(), file.fileno(), 2),
        ):
            process = host.engine.exec_process(
                host.group,
                record.id,
                ExecSpec(args=("sh", "-c", f"({LOOK}) | tee /tmp/seen", "chmod 777 /dev/stdin")),
                stdio=stdio,
            )
            process.wait()
            process.close()
            assert own(host.exec(record, "cat", "/tmp/seen").out)
    os.close(fifo)
    after = [os.stat(path) for path in streams_of_a_caller(tmp_path)]
    assert [(s.st_mode, s.st_uid, s.st_gid) for s in before] == [(s.st_mode, s.st_uid, s.st_gid) for s in after]


def streams_of_a_caller(folder):
    fifo, file = folder / "fifo", folder / "file"
    if not fifo.exists():
        os.mkfifo(fifo, 0o640)
        file.write_text("a secret of the caller's\n")
    return fifo, file


@pytest.mark.parametrize("way", WAYS)
def test_streams_of_detached_execs_and_probes(host, way):
    record = host.sleep(**WAYS[way])
    process = host.engine.exec_process(
        host.group, record.id, ExecSpec(args=("sh", "-c", f"({LOOK}) > /tmp/seen 2>&1")), stdio=(-1, -1, -1)
    )
    assert process.wait() == 0
    process.close()
    # The second word of each line describes the file here; standard input is the shell's own.
    assert " 1:3 " in host.exec(record, "cat", "/tmp/seen").out
    found = host.wait(host.session.probe(record.id, ("CMD", "sh", "-c", LOOK), timeout=10))
    assert own(found.output)


@pytest.mark.parametrize("mode", ["sandbox", "insecure"])
def test_a_build_step(builder, busybox, run, mode):
    """A step's output goes to a separate pipe; changes to its standard streams do not reach the host's."""
    before = os.stat("/dev/null")
    entitlements = ("security.insecure",) if mode == "insecure" else ()
    script = "chmod 667 /proc/self/fd/0; chown 0:7 /proc/self/fd/0; true"
    builder.run = run
    builder(f"FROM busybox\nRUN --security={mode} {LOOK}; {script}\n", entitlements=entitlements)
    said = [re.sub(r"^#\d+ \d+\.\d{3} ", "", line) for line in builder.lines]
    first = next(number for number, line in enumerate(said) if re.match(r"0 .* \d+$", line))
    assert own("\n".join(said[first : first + 7]))
    after = os.stat("/dev/null")
    assert (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid)


def test_the_null_device_of_the_host_stays(host):
    """A process that had it as standard input could change its mode and owner."""
    before = os.stat("/dev/null")
    script = "chmod 667 /proc/self/fd/0; chown 0:7 /proc/self/fd/0; true"
    assert host.shell(script).code == 0
    record = host.sleep()
    process = host.engine.exec_process(
        host.group, record.id, ExecSpec(args=("sh", "-c", script)), stdio=(os.open("/dev/null", os.O_RDWR), -1, -1)
    )
    assert process.wait() == 0
    process.close()
    after = os.stat("/dev/null")
    assert (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid)
    assert stat.S_IMODE(after.st_mode) == 0o666


def test_replaced_null_device(host):
    """What the container has put there is not opened, nor replaced by the host's null device."""
    record = host.sleep()
    for made in ("rm /dev/null", "mkfifo /dev/null", "rm /dev/null; ln -s /dev/zero /dev/null"):
        assert host.exec(record, "sh", "-c", made).code == 0
        out = host.exec(record, "sh", "-c", "stat -L -c '%F %t:%T %d' /proc/self/fd/0; cat").out
        assert re.fullmatch(r"character special file 1:3 \d+\n", out), out
        assert int(out.split()[-1]) != os.stat("/dev").st_dev


def test_a_pipe_of_the_caller_is_not_read(host):
    """The container read and forged what a script wrote to the pipe that exec's output went to."""
    record = host.sleep()
    reading, writing = os.pipe()
    os.write(writing, b"before ")
    process = host.engine.exec_process(
        host.group,
        record.id,
        ExecSpec(
            args=(
                "sh",
                "-c",
                "dd if=/proc/self/fd/1 of=/tmp/stolen bs=4096 count=1 2> /dev/null & sleep 0.1; kill $!; wait; echo hi",
            )
        ),
        stdio=(-1, writing, writing),
    )
    assert process.wait() == 0
    process.close()
    os.close(writing)
    with open(reading) as file:
        assert file.read() == "before hi\n"
    assert host.exec(record, "cat", "/tmp/stolen").out == ""
