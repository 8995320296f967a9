"""RUN in real containers, on a root file system of busybox."""

import contextlib
import glob
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest

from engine.build import build
from engine.build.container_run import ContainerRun
from engine.build.execute import LateSteps
from engine.container import apparmor
from engine.errors import BuildFailed, InvalidSpec, KeeperLost, OperationFailed
from engine.image import gc
from engine.image.images import ImageStore
from engine.session import build_folders
from engine.spec.container import Resources
from engine.spec.image import BuildSecret, BuildSpec
from engine.store import Store


@pytest.fixture
def builder(builder, busybox, run):
    builder.run = run
    return builder


def output(builder):
    """What the steps' processes wrote."""
    return [found[1] for line in builder.lines if (found := re.match(r"#\d+ \d+\.\d{3} (.*)", line))]


def added(builder, busybox, record):
    before = builder.tree(busybox)
    return {path: text for path, text in builder.tree(record).items() if before.get(path, "") != text}


def test_layer_contains_only_changes(builder, busybox):
    record = builder("FROM busybox\nRUN echo hello > /new && rm /etc/group && mkdir -p /d/e\n")
    assert added(builder, busybox, record) == {"new": "hello\n", "d": None, "d/e": None}
    assert "etc/group" not in builder.tree(record)
    assert len(record.layers) == 2


def test_process_without_changes_makes_an_empty_layer(builder, busybox):
    record = builder("FROM busybox\nRUN true\nRUN cat /etc/hosts /etc/resolv.conf /proc/version > /dev/null")
    assert added(builder, busybox, record) == {}
    assert len(record.layers) == 3
    builder("FROM busybox\nRUN true")
    assert builder.cached == 1


def test_no_copy_of_the_keeper_is_made_for_a_step(builder):
    """Its process is a recorded start, not a fork, which has some 600 page faults more (tests/container/test_script.py)."""
    builder("FROM busybox\nRUN cut -d' ' -f10 /proc/1/stat")
    assert int(output(builder)[0]) < 350


def test_environment_user_and_directory(builder, busybox):
    builder(
        'FROM busybox\nARG ONE=1\nARG SECRET\nENV TWO="2 $ONE"\nWORKDIR /work\nUSER web\n'
        "RUN echo $ONE-$TWO-$BASE-$GIVEN; id -u; id -g; pwd; echo ~\n",
        args={"GIVEN": "x"},
    )
    assert output(builder) == ["1-2 1-base-", "1000", "1000", "/work", "/home"]


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ('RUN ["/bin/echo", "$BASE", "a b"]', ["$BASE a b"]),
        ("RUN echo one && \\\n  # comment\n  echo two", ["one", "two"]),
        ("RUN echo out; echo err >&2", ["out", "err"]),
        ('SHELL ["/bin/sh", "-e", "-c"]\nRUN false; echo never || true', None),
        ("RUN <<EOF\necho $BASE\necho 2\nEOF", ["base", "2"]),
        ("RUN <<EOF cat\nraw\nEOF", ["raw"]),
        ("RUN cat <<'EOF' && echo after\n$BASE\nEOF", ["$BASE", "after"]),
        ("RUN <<EOF\n#!/bin/cat\nthe file itself\nEOF", ["#!/bin/cat", "the file itself"]),
        ("RUN echo -n no newline", ["no newline"]),
        ("RUN --network=none cat /proc/net/dev | wc -l", ["3"]),
    ],
)
def test_forms(builder, instruction, expected):
    if expected is None:
        with pytest.raises(BuildFailed):
            builder(f"FROM busybox\n{instruction}")
        return
    builder(f"FROM busybox\n{instruction}")
    assert sorted(output(builder)) == sorted(expected)


def test_failure_shows_the_command_and_its_output(builder):
    with pytest.raises(BuildFailed) as caught:
        builder("FROM busybox\nRUN echo before; \\\n  echo problem >&2; exit 3\n")
    assert caught.value.exit_code == 3
    assert str(caught.value) == (
        'dockerfile_inline:2: process "/bin/sh -c echo before;   echo problem >&2; exit 3" did not complete'
        " successfully: exit code: 3\n     2 | RUN echo before; \\\n     3 |   echo problem >&2; exit 3\n"
        "last output:\n  before\n  problem"
    )
    assert not [name for name in builder.images.layers.names() if name.startswith(".")]


@pytest.mark.parametrize(
    ("command", "code"),
    [("nosuchprogram", 127), ("/etc/passwd", 126), ("sh -c 'kill -9 $$'; exit $?", 137), ("exit 1", 1)],
)
def test_exit_codes(builder, command, code):
    with pytest.raises(BuildFailed, match=f"exit code: {code}") as caught:
        builder(f"FROM busybox\nRUN {command}")
    assert caught.value.exit_code == code


def test_missing_program(builder):
    with pytest.raises(
        BuildFailed, match=r'(?s)dockerfile_inline:2: .*could not be started.*"/no/such": stat /no/such: no such file'
    ) as caught:
        builder('FROM busybox\nRUN ["/no/such"]')
    assert caught.value.exit_code == 127
    with pytest.raises(BuildFailed, match=r"(?s)dockerfile_inline:3: .*user nobody-here"):
        builder("FROM busybox\nUSER nobody-here\nRUN true")


def test_the_steps_before_a_failure_are_cached(builder):
    for _ in range(2):
        with pytest.raises(BuildFailed):
            builder("FROM busybox\nRUN echo 1 > /one\nRUN exit 1")
    assert builder.cached == 1


@pytest.mark.parametrize(
    ("first", "second", "cached"),
    [
        ("RUN echo > /x", "RUN echo > /x", 1),
        ("RUN echo > /x", "RUN echo  > /x", 0),
        ("ARG A=1\nRUN echo > /x", "ARG A=2\nRUN echo > /x", 0),
        ("RUN echo > /x\nARG A=1", "RUN echo > /x\nARG A=2", 1),
        ("ENV A=1\nRUN echo > /x", "ENV A=2\nRUN echo > /x", 0),
        ("LABEL A=1\nRUN echo > /x", "LABEL A=2\nRUN echo > /x", 1),
        ("USER 0\nRUN echo > /x", "USER root\nRUN echo > /x", 0),
        ("RUN --mount=type=secret,id=s echo > /x", "RUN --mount=type=secret,id=s echo > /x", 1),
    ],
)
def test_inputs_of_the_cache_key(builder, first, second, cached):
    builder(f"FROM busybox\n{first}", secrets=(BuildSecret(id="s", environment="S"),), environ={"S": "1"})
    builder(f"FROM busybox\n{second}", secrets=(BuildSecret(id="s", environment="S"),), environ={"S": "2"})
    assert builder.cached == cached


def test_proxy_variables_are_there_but_do_not_count(builder):
    builder("FROM busybox\nRUN echo $http_proxy > /x; echo $http_proxy", args={"http_proxy": "a"})
    assert output(builder) == ["a"]
    builder("FROM busybox\nRUN echo $http_proxy > /x; echo $http_proxy", args={"http_proxy": "b"})
    assert builder.cached == 1


def test_cache_mounts_last_and_are_not_in_the_image(builder, busybox):
    text = "FROM busybox\nARG N\nRUN --mount=type=cache,target=/c,mode=0700 echo $N >> /c/f; cat /c/f\n"
    record = builder(text, args={"N": "1"})
    assert added(builder, busybox, record) == {}
    builder(text, args={"N": "2"})
    assert output(builder) == ["1", "2"]


def test_cache_mounts_are_empty_in_a_build_without_the_cache(builder):
    step = "RUN --mount=type=cache,target=/c echo x >> /c/f; wc -l < /c/f # "
    for number, expected in ((0, ["1", "2"]), (1, ["1", "2"]), (1, ["1", "2"]), (0, [])):
        builder(f"FROM busybox\n{step}1\n{step}2\n", no_cache=bool(number))
        assert output(builder) == expected
    builder(f"FROM busybox\n{step}3\n")
    assert output(builder) == ["3"]


def test_secrets_leave_no_trace(builder, busybox, tmp_path):
    (tmp_path / "token").write_text("hush")
    record = builder(
        "FROM busybox\n"
        "RUN --mount=type=secret,id=file --mount=type=secret,id=env,env=TOKEN,target=/root/t,mode=0440,uid=7"
        " cat /run/secrets/file; echo; echo $TOKEN; cat /root/t; echo; stat -c '%a %u' /root/t /run/secrets/file\n",
        secrets=(BuildSecret(id="file", file=str(tmp_path / "token")), BuildSecret(id="env", environment="E")),
        environ={"E": "value"},
    )
    assert output(builder) == ["hush", "value", "value", "440 7", "400 0"]
    assert added(builder, busybox, record) == {}
    with pytest.raises(BuildFailed, match="secret gone: not found"):
        builder("FROM busybox\nRUN --mount=type=secret,id=gone,required true")
    builder("FROM busybox\nRUN --mount=type=secret,id=gone test ! -e /run/secrets/gone")
    with pytest.raises(OperationFailed, match="ENOENT"):
        builder("FROM busybox\nRUN --mount=type=secret,id=s true", secrets=(BuildSecret(id="s", file="/no/such"),))


def test_bind_mounts(builder, busybox):
    files = {"src/a": "1", "src/skip.log": "x", ".dockerignore": "**/*.log"}
    text = (
        "FROM busybox AS made\nRUN echo made > /made\nFROM busybox\n"
        "RUN --mount=target=/ctx --mount=from=made,source=/made,target=/m --mount=source=src,target=/src,rw"
        " cat /ctx/src/a /m; ls /src; echo 2 > /src/a; touch /ctx/x 2>/dev/null || echo read-only\n"
    )
    record = builder(text, files=files)
    assert output(builder) == ["1made", "a", "read-only"]
    assert (builder.context.path / "src/a").read_text() == "1"
    assert added(builder, busybox, record) == {}
    builder(text)
    assert builder.cached == 2
    builder(text, files={"src/a": "changed"})
    assert builder.cached == 1
    assert [name for name in os.listdir(f"{builder.images.store.roots.cache}/build") if name.startswith(".")] == []


def test_tmpfs_mounts(builder, busybox):
    record = builder(
        "FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=1m echo x > /t/x; mount | cat | wc -l; test -e /t/x"
    )
    assert added(builder, busybox, record) == {}


def test_an_agent_s_socket(builder, busybox, tmp_path):
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        record = builder(
            "FROM busybox\nRUN --mount=type=ssh,required test -S $SSH_AUTH_SOCK && echo yes",
            ssh=(f"default={tmp_path}/agent",),
        )
    assert output(builder) == ["yes"]
    assert added(builder, busybox, record) == {}
    with pytest.raises(BuildFailed, match="ssh default: no agent"):
        builder("FROM busybox\nRUN --mount=type=ssh,required true", environ={"X": "1"})


@pytest.mark.skipif(not shutil.which("ssh-agent"), reason="needs OpenSSH's client")
def test_key_files_for_a_user(builder, busybox, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    (tmp_path / "key").chmod(0o444)  # as in a checkout that others read; BuildKit takes it, too
    builder(
        "FROM busybox\nRUN --mount=type=ssh,id=k,uid=1000,mode=0640 stat -c '%a %u' $SSH_AUTH_SOCK",
        ssh=(f"k={tmp_path}/key",),
    )
    assert output(builder) == ["640 1000"]
    (tmp_path / "none").write_text("x")
    with pytest.raises(BuildFailed, match="cannot load the key"):
        builder("FROM busybox\nRUN --mount=type=ssh,id=k true && true", ssh=(f"k={tmp_path}/none",))


def test_a_context_is_seen_without_a_copy(builder, busybox, images):
    files = {".dockerignore": "*.log\nd/deep\n", "a": "1", "b.log": "x", "d/e.log": "x", "d/f": "2", "d/deep/g": "3"}
    builder("FROM busybox\nRUN --mount=target=/c,rw cd /c && echo * d/* && touch d/new", files=files)
    assert output(builder) == ["a d d/e.log d/f"]
    assert not (builder.context.path / "d/new").exists()
    assert not [name for name in os.listdir(f"{images.store.roots.cache}/build") if name.startswith(".")]
    # Files of another user appear as root's, which requires a copy.
    os.chown(builder.context.path / "a", 1000, 1000)
    builder("FROM busybox\nRUN --mount=target=/c stat -c %u /c/a && ls /c/d")
    assert output(builder) == ["0", "e.log", "f"]


def test_extra_hosts(builder):
    builder("FROM busybox\nRUN cat /etc/hosts", extra_hosts=(("db.internal", "10.9.8.7"),))
    assert any(re.match(r"10\.9\.8\.7\s+db\.internal", line) for line in output(builder))


def test_modes_links_and_owners_survive(builder):
    record = builder(
        "FROM busybox\nRUN touch /f && ln /f /hard && ln -s /f /soft && chown 5:6 /f && chmod 4755 /f"
        " && mkdir -m 1777 /d"
        "\nRUN chmod 700 /"
    )
    status = builder.stat(record, "f")
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777, status.st_nlink) == (5, 6, 0o4755, 2)
    assert builder.stat(record, "hard").st_ino == status.st_ino
    assert builder.stat(record, ".").st_mode & 0o777 == 0o700
    assert builder.stat(record, "d").st_mode & 0o7777 == 0o1777


def test_a_directory_that_is_replaced(builder):
    record = builder("FROM busybox\nRUN mkdir /d && touch /d/old\nRUN rm -r /d && mkdir /d && touch /d/new")
    assert {path for path in builder.tree(record) if path.startswith("d")} == {"d", "d/new", "dev"}


def test_run_needs_files(builder):
    with pytest.raises(BuildFailed, match="could not be started"):
        builder("FROM scratch\nRUN true")


def test_a_process_cannot_reach_the_host(builder, tmp_path):
    """No capability to mount, no host devices, no view of the host's processes, no access to our descriptors."""
    (tmp_path / "host").write_text("host secret")
    builder(
        "FROM busybox\nRUN mount -t tmpfs x /tmp 2>/dev/null && echo MOUNTED;"
        " ls /proc/self/fd | wc -l; test -e /dev/sda && echo DEVICE; test -e /dev/vda && echo DEVICE;"
        f" cat /proc/1/root{tmp_path}/host 2>/dev/null; ps | wc -l; true"
    )
    said = output(builder)
    assert not {"MOUNTED", "DEVICE", "host secret"} & set(said)
    assert int(said[0]) <= 4
    assert int(said[1]) <= 6


class Interrupted(Exception):
    pass


def left_behind(run, images):
    """What a step may leave: processes, mounts, cgroups, folders, drafts."""
    found = [line for line in open("/proc/self/mountinfo") if images.store.roots.state in line or run.folder in line]
    found += [f"cgroup {place}" for place in glob.glob(f"/sys/fs/cgroup/**/{run.group}", recursive=True)]
    found += [name for name in images.layers.names() if name.startswith(".")]
    if os.path.exists(run.folder):
        found += [
            name for name in os.listdir(run.folder) if name not in ("lock", "keeper.sock", "keeper.lock", "keeper.log")
        ]
    for process in glob.glob("/proc/[0-9]*/root"):
        try:
            command = open(process.replace("root", "cmdline")).read()
        except OSError:
            continue
        if "sleep\x0086399" in command:
            found.append(command)
    return found


def test_an_interruption_ends_the_process(builder, run):
    def interrupt(event):
        if event.get("text") == "started":
            raise Interrupted

    from engine.build import build
    from engine.spec.image import BuildSpec

    spec = BuildSpec(context=str(builder.context.path), dockerfile_inline="FROM busybox\nRUN echo started; sleep 86399")
    with pytest.raises(Interrupted):
        build(spec, images=builder.images, run=run, progress=interrupt)
    assert [one for one in left_behind(run, builder.images) if "cgroup" not in one] == []


def test_killed_keeper_is_reported(builder, run):
    def strike(event):
        if event.get("text") == "started":
            signal.pidfd_send_signal(run._keeper, signal.SIGKILL)

    from engine.build import build
    from engine.spec.image import BuildSpec

    spec = BuildSpec(context=str(builder.context.path), dockerfile_inline="FROM busybox\nRUN echo started; sleep 86399")
    with pytest.raises(KeeperLost):
        build(spec, images=builder.images, run=run, progress=strike)
    run.close()
    assert left_behind(run, builder.images) == []


def test_killed_build_ends_its_processes(builder, images, tmp_path):
    """SIGKILL in the middle of a step; the next build removes the leftovers on disk."""
    script = f"""
import sys
from engine.build import build
from engine.build.container_run import ContainerRun
from engine.image.images import ImageStore
from engine.paths import Roots
from engine.spec.image import BuildSpec
from engine.store import Store
roots = Roots({images.store.roots.state!r}, {images.store.roots.run!r})
with ContainerRun(roots) as run:
    text = "FROM busybox\\nRUN echo started; sleep 86399"
    spec = BuildSpec(context={str(builder.context.path)!r}, dockerfile_inline=text)
    print(run.group, flush=True)
    build(spec, images=ImageStore(Store(roots)), run=run, progress=lambda e: print(e.get("text"), flush=True))
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    group = child.stdout.readline().strip()
    while child.stdout.readline() != "started\n":
        assert child.poll() is None
    keeper = next(int(pid) for pid in os.listdir("/proc") if pid.isdigit() and f"{group}/keeper.sock" in _command(pid))
    descriptor = os.pidfd_open(keeper)
    child.kill()
    child.wait()
    child.stdout.close()
    select.select([descriptor], [], [], 20)
    assert not os.path.exists(f"/proc/{keeper}") or open(f"/proc/{keeper}/stat").read().split()[2] == "Z"
    os.close(descriptor)
    builder("FROM busybox\nRUN true")
    gc.collect(images)
    builder.run.group, builder.run.folder, saved = (
        group,
        f"{images.store.roots.run}/{group}",
        (builder.run.group, builder.run.folder),
    )
    assert left_behind(builder.run, images) == []
    builder.run.group, builder.run.folder = saved


def _command(pid):
    try:
        return open(f"/proc/{pid}/cmdline").read()
    except OSError:
        return ""


def test_builds_side_by_side(images, busybox, context):
    """Each creates and removes its folder while the others sweep leftovers of killed builds."""
    rounds, width = 5, 8
    begin = threading.Barrier(width)
    dead = f"{images.store.roots.run}/build-killed"
    failures = []

    def build_often(number):
        try:
            for turn in range(rounds):
                begin.wait(60)
                with contextlib.suppress(FileExistsError):  # `exist_ok` looks again, and it may have been swept by then
                    os.makedirs(dead)
                with ContainerRun(images.store.roots) as run, contextlib.closing(Store(images.store.roots)) as store:
                    text = f"FROM busybox\nRUN echo {number} {turn}\n"
                    spec = BuildSpec(context=str(context.path), dockerfile_inline=text, network="none")
                    build(spec, images=ImageStore(store), run=run, progress=lambda _: None)
        except BaseException as error:
            failures.append(error)
            begin.abort()

    threads = [threading.Thread(target=build_often, args=(number,)) for number in range(width)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert not glob.glob(f"{images.store.roots.run}/build-*")


def test_a_machine_that_cannot_load_the_apparmor_profile_is_warned_once(builder, monkeypatch):
    def fail(roots):
        raise OperationFailed("load the AppArmor profile", "composer-default", detail="no parser")

    monkeypatch.setattr(apparmor, "load", fail)
    builder("FROM busybox\nRUN true\nRUN true && true\n")
    warnings = [line for line in builder.lines if "AppArmor" in line]
    assert len(warnings) == 1 and "containers run without an AppArmor profile" in warnings[0]


def test_keeper_is_ready_before_the_first_step(builder, images):
    """The keeper starts before the first RUN is reached; without a RUN, nothing of it remains."""
    made = []

    def make():
        made.append(ContainerRun(images.store.roots))
        return made[0]

    with LateSteps(make) as steps:
        builder.run = steps
        builder("FROM busybox\nCOPY . /to", files={"a": "a"})
        assert not made
        with pytest.raises(BuildFailed):
            builder("FROM busybox\nCOPY . /new\nCOPY absent /\nRUN true")
        steps._preparing.join()
        assert made[0]._launch and not made[0]._owner
    assert not build_folders.exist(images.store.roots)


def test_a_build_whose_steps_are_all_known_prepares_nothing(builder):
    builder("FROM busybox\nRUN true")
    with LateSteps(lambda: pytest.fail("no step was expected")) as steps:
        builder.run = steps
        builder("FROM busybox\nRUN true")
    assert builder.cached == 1


@pytest.fixture
def parent():
    """A cgroup for steps, by its path below the hierarchies."""
    name = f"/composer-test-{os.urandom(4).hex()}/inner"
    yield name
    for place in sorted(glob.glob(f"/sys/fs/cgroup/**{os.path.dirname(name)}/**/", recursive=True), reverse=True):
        os.rmdir(place)


def places(parent, group):
    return glob.glob(f"/sys/fs/cgroup/**{parent}/{group}", recursive=True)


def test_steps_run_below_a_chosen_cgroup(builder, run, parent):
    seen = []

    def note(event):
        if event.get("text") == "started":
            seen.extend(text for place in places(parent, run.group) for text in glob.glob(f"{place}/*/cgroup.procs"))
            seen.extend(pid for path in seen[:1] for pid in open(path).read().split())

    spec = BuildSpec(context=str(builder.context.path), dockerfile_inline="FROM busybox\nRUN echo started; sleep 0.3",
                     cgroup_parent=parent)  # fmt: skip
    build(spec, images=builder.images, run=run, progress=note)
    assert len(seen) > 1
    run.close()
    assert places(parent, run.group) == []
    with pytest.raises(InvalidSpec, match="outside the cgroup file system"):
        builder("FROM busybox\nRUN true", cgroup_parent="/a/../../b")


def test_next_build_removes_cgroups_of_a_killed_one(builder, run, parent):
    roots = builder.images.store.roots
    name = build_folders.new_name()
    os.close(build_folders.make(roots, name, lambda: None))
    build_folders.note_cgroup(roots, name, parent)
    run.cgroups.create(name, "c", Resources(), parent=f"{parent}/{name}")
    assert places(parent, name)
    builder("FROM busybox\nRUN true")
    assert places(parent, name) == []
    assert not os.path.exists(f"{roots.run}/{name}")
