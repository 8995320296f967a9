"""Docker's commands on images, containers, networks and volumes of all projects, and containers without a project."""

import json
import secrets
import select
import tarfile
import time

import pytest

SLEEP = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")


@pytest.fixture
def name():
    return f"lone-{secrets.token_hex(3)}"


@pytest.fixture
def lone(composer, name):
    """A running container without a project."""
    composer("container", "run", "-d", "--name", name, "--network", "none", "-v", f"{name}:/v", "-e", "A=1", "-l", "x=y",
             "--memory", "64m", "busybox", *SLEEP)  # fmt: skip
    yield name
    composer("container", "rm", "-f", "-v", name)
    composer("volume", "rm", "-f", name)


@pytest.mark.parametrize(("words", "out", "err", "code"), [
    (("echo", "hello"), "hello\n", "", 0),
    (("sh", "-c", "echo out; echo err >&2; exit 3"), "out\n", "err\n", 3),
    (("nosuchprogram",), "", "nosuchprogram", 127),
    (("/etc",), "", "/etc", 126),
])  # fmt: skip
def test_run_gives_streams_and_exit_code(composer, words, out, err, code):
    done = composer("container", "run", "--rm", "--network", "none", "busybox", *words, code=code)
    assert done.out == out and err in done.err
    assert composer("container", "ls", "-aq").out == ""


def test_a_joined_container_is_shown_by_its_id(composer, lone, name):
    other = f"{name}-2"
    joined = composer("container", "inspect", "-f", "{{.Id}}", lone).out.strip()
    composer("container", "create", "--name", other, "--network", f"container:{lone}", "--pid", f"container:{joined[:12]}",
             "--ipc", f"container:{lone}", "busybox")  # fmt: skip
    template = "{{.HostConfig.NetworkMode}} {{.HostConfig.PidMode}} {{.HostConfig.IpcMode}}"
    shown = composer("container", "inspect", "-f", template, other).out.split()
    composer("container", "rm", other)
    assert shown == [f"container:{joined}"] * 3


def test_h_is_the_host_name(composer):
    done = composer("container", "run", "--rm", "-h", "box", "--network", "none", "busybox", "hostname")
    assert done.out == "box\n"


def test_stdin_reaches_the_program(composer):
    done = composer("container", "run", "--rm", "-i", "--network", "none", "busybox", "cat", stdin="typed")
    assert done.out == "typed"


def test_failed_creation_exits_with_125(composer, name):
    for words in (("--pull", "never", "nosuch:1"), ("--restart", "sometimes", "busybox"), ("--name", "-", "busybox")):
        done = composer("container", "run", *words, code=125)
        assert done.err and "Traceback" not in done.err
    assert composer("container", "ls", "-aq").out == ""


def test_a_container_is_listed_inspected_and_entered(composer, lone):
    (row,) = map(json.loads, composer("container", "ls", "--format", "json").out.splitlines())
    assert (row["Names"], row["Image"], row["State"], row["Labels"]) == (lone, "busybox", "running", "x=y")
    assert row["Status"].startswith("Up ")
    template = "{{.State.Status}} {{.HostConfig.Memory}} {{range .Mounts}}{{.Name}}:{{.Destination}}{{end}}"
    done = composer("container", "inspect", "-f", template, lone)
    assert done.out == f"running 67108864 {lone}:/v\n"
    assert composer("container", "exec", lone, "sh", "-c", "echo $A").out == "1\n"
    done = composer("container", "exec", lone, "sh", "-c", "exit 7", code=7)
    assert "/v" in composer("container", "exec", lone, "mount").out
    for words, fits in (("name=lone", True), ("label=x=y", True), ("label=x=z", False), ("status=exited", False)):
        assert bool(composer("container", "ls", "-q", "--filter", words).out) is fits


def test_a_container_is_stopped_started_and_removed(composer, lone):
    assert "is running" in composer("container", "rm", lone, code=1).err
    assert "in use" in composer("volume", "rm", lone, code=1).err
    assert composer("container", "stop", lone).out == f"{lone}\n"
    assert composer("container", "wait", lone).out == "0\n"
    assert composer("container", "inspect", "-f", "{{.State.Status}}", lone).out == "exited\n"
    composer("container", "start", lone)
    composer("container", "pause", lone)
    assert "(Paused)" in composer("container", "ls").out
    composer("container", "unpause", lone)
    composer("container", "rename", lone, f"{lone}-2")
    composer("container", "rename", f"{lone}-2", lone)
    composer("container", "kill", lone)
    assert composer("container", "wait", lone).out == "137\n"
    assert "Traceback" not in composer("container", "kill", lone, code=1).err


def test_logs(composer, name):
    composer(
        "container", "run", "--name", name, "--network", "none", "busybox", "sh", "-c", "echo a; echo b >&2; echo c"
    )
    done = composer("container", "logs", name)
    assert (done.out, done.err) == ("a\nc\n", "b\n")
    done = composer("container", "logs", "-f", "-n", "1", name)
    assert done.out + done.err in ("b\n", "c\n")  # the two streams are not ordered
    assert composer("container", "logs", "-t", name).out.splitlines()[0].endswith("Z a")
    shown = composer("container", "prune", "--dry-run").out
    assert name in shown and composer("container", "ls", "-aq").out
    assert "Total reclaimed space: 0B" in composer("container", "prune", "-f").out
    assert composer("container", "ls", "-aq").out == ""


def test_a_prune_asks(composer, name):
    composer("volume", "create", name)
    done = composer("volume", "prune", "--all", stdin="n\n")
    assert "WARNING! This will remove all volumes" in done.out and name in done.out
    assert name in composer("volume", "ls", "-q").out
    assert name in composer("volume", "prune", "--all", stdin="y\n").out
    assert name not in composer("volume", "ls", "-q").out


def test_objects_of_a_project(composer):
    composer("up", "-d")
    project = composer.name
    assert composer("container", "ls", "--format", "{{.Names}}").out == f"{project}-web-1\n"
    assert composer("volume", "ls", "-q").out == f"{project}_data\n"
    network = json.loads(composer("network", "inspect", f"{project}_default").out)[0]
    assert [member["Name"] for member in network["Containers"].values()] == [f"{project}-web-1"]
    done = composer("network", "rm", f"{project}_default", code=1)
    assert "active endpoints" in done.err
    assert "container is running" in composer("container", "rm", f"{project}-web-1", code=1).err
    composer("down", "-v")


def test_networks(composer, name):
    composer("network", "create", "--subnet", "10.213.4.0/24", "--gateway", "10.213.4.9", "--label", "a=b", name)
    template = "{{(index .IPAM.Config 0).Subnet}} {{(index .IPAM.Config 0).Gateway}} {{.Labels.a}}"
    assert composer("network", "inspect", "-f", template, name).out == "10.213.4.0/24 10.213.4.9 b\n"
    assert "already exists" in composer("network", "create", name, code=1).err
    assert "no matching subnet" in composer("network", "create", "--gateway", "1.2.3.4", f"{name}-2", code=1).err
    assert name in composer("network", "prune", "-f").out
    assert "not found" in composer("network", "rm", name, code=1).err


def test_images_are_saved_and_loaded(composer, name, tmp_path):
    tag = f"scenario/{name}:1"
    composer("image", "tag", "busybox", tag)
    assert composer("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"scenario/{name}").out == f"{tag}\n"
    archive = tmp_path / "image.tar"
    composer("image", "save", "-o", archive, tag)
    assert composer("image", "rm", tag).out == f"Untagged: {tag}\n"
    assert "No such image" in composer("image", "inspect", tag, code=1).err
    assert composer("image", "load", "-i", archive).out == f"Loaded image: {tag}\n"
    assert composer("image", "history", "-q", tag).out
    composer("image", "rm", tag)
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith("image")] == ["image.tar"]


def test_a_push_and_a_pull(composer, registry, name):
    tag = f"{registry}/{name}:1"
    composer("image", "tag", "busybox", tag)
    composer("image", "push", tag)
    composer("image", "rm", tag)
    assert composer("image", "pull", "-q", tag).out == f"{tag}\n"
    composer("image", "rm", tag)


def test_a_rebuild_leaves_no_old_image(composer, name):
    """An image that a newer build has replaced is removed once no container uses it, and `up` reports that."""
    composer.write(compose="""
        services:
          web:
            build: {context: ., dockerfile_inline: "FROM busybox\\nCOPY compose.yaml word /"}
            command: [sleep, "1000"]
            init: true
            network_mode: none
    """, word="one")  # fmt: skip
    composer("up", "-d", "--build")
    old = composer("container", "ls", "--format", "{{.ID}}").out
    first = composer("image", "inspect", "-f", "{{.Id}}", f"{composer.name}-web").out.strip()
    composer.write(word="two")
    composer("build")
    assert composer("image", "inspect", "-f", "{{len .RepoTags}}", first).out == "0\n"  # the container uses it
    done = composer("up", "-d")
    assert old != composer("container", "ls", "--format", "{{.ID}}").out
    assert "\nRemoved 1 image replaced by newer builds\n" in done.err  # its layers remain in the build cache
    assert composer("image", "ls", "-q", "--filter", "dangling=true").out == ""
    composer("down", "--rmi", "all")
    assert "scenario" not in composer("image", "ls").out


def test_disk_usage(composer):
    lines = composer("system", "df").out.splitlines()
    assert lines[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert [line.split()[0] for line in lines[1:]] == ["Images", "Containers", "Local", "Build"]
    assert "Images space usage:" in composer("system", "df", "-v").out
    assert "Reclaimable" in composer("builder", "du").out
    assert "Reclaimable" in composer("builder", "--builder", "default", "-D", "du", "--builder=default", "--debug").out
    assert json.loads(composer("system", "info", "--format", "json").out)["Images"] >= 1


@pytest.mark.parametrize("words", [
    ("image", "ls", "--filter", "nope=1"),
    ("container", "ls", "--filter", "status=sometimes"),
    ("container", "inspect", "nosuch"),
    ("container", "inspect", "-f", "{{.State.Pid", "nosuch"),
    ("network", "inspect", "nosuch"),
    ("volume", "inspect", "nosuch"),
    ("image", "history", "nosuch"),
    ("container", "start", "nosuch"),
    ("image", "frobnicate"),
    ("volume", "create", "a/b"),
    ("network", "create", "host"),
    ("network", "rm", "none"),
])  # fmt: skip
def test_wrong_usage_is_explained(composer, words):
    done = composer(*words, code=1)
    assert done.err.strip() and "Traceback" not in done.err and "internal error" not in done.err


def test_an_image_is_built_without_a_project(composer, name):
    step = "RUN --mount=type=secret,id=s echo $WHO $(cat /run/secrets/s) > /said"
    composer.write({"ctx/Dockerfile": f"FROM busybox AS a\nARG WHO\n{step}\nFROM a\nRUN exit 1\n", "word": "hidden"})
    tag = f"scenario/{name}:1"
    done = composer("image", "build", "-q", "-t", tag, "--target", "a", "--build-arg", "WHO=me", "--secret", "id=s,src=word",
                    "--label", "k=v", "--network", "none", "ctx")  # fmt: skip
    assert done.out.strip() == composer("image", "inspect", "-f", "{{.Id}}", tag).out.strip()
    assert composer("container", "run", "--rm", "--network", "none", tag, "cat", "/said").out == "me hidden\n"
    assert composer("image", "inspect", "-f", "{{.Config.Labels.k}}", tag).out == "v\n"
    assert "Dockerfile:" in composer("image", "build", "ctx", code=None).err
    assert "not found" in composer("image", "build", "nosuch", code=1).err
    composer("image", "rm", tag)


@pytest.fixture
def running(composer, name):
    composer("container", "run", "-d", "--name", name, "--network", "none", "busybox", "sleep", "1000")
    yield composer, name
    composer("container", "rm", "-f", name)


def test_files_of_a_container_of_no_project(running):
    composer, name = running
    composer.write(file="words\n")
    composer("container", "cp", "file", f"{name}:/tmp/there")
    composer("container", "cp", f"{name}:/tmp/there", "back")
    assert (composer.folder / "back").read_text() == "words\n"
    composer("container", "export", "-o", "all.tar", name)
    assert "tmp/there" in tarfile.open(composer.folder / "all.tar").getnames()
    image = composer(
        "container", "commit", "-m", "why", "-c", "CMD cat /tmp/there", name, f"scenario/{name}"
    ).out.strip()
    assert composer("image", "inspect", "-f", "{{.Comment}} {{.Id}}", f"scenario/{name}").out == f"why {image}\n"
    assert composer("container", "run", "--rm", "--network", "none", f"scenario/{name}").out == "words\n"
    assert composer("container", "inspect", "-f", "{{.State.Status}}", name).out == "running\n"
    composer("image", "rm", f"scenario/{name}")
    assert "source" in composer("container", "cp", "file", "other", code=None).err
    assert "No such container" in composer("container", "cp", "file", "nosuch:/x", code=1).err


def test_a_container_joins_and_leaves_networks(composer, name):
    composer("network", "create", name)
    composer("container", "run", "-d", "--name", name, "--network", "bridge", "busybox", "sleep", "1000")
    composer("network", "connect", "--alias", "other", name, name)
    assert "already exists" in composer("network", "connect", name, name, code=1).err
    said = composer("container", "exec", name, "ip", "-o", "-4", "address").out
    assert "eth1" in said
    composer("network", "disconnect", name, name)
    assert "is not connected" in composer("network", "disconnect", name, name, code=1).err
    composer("network", "disconnect", "-f", name, "nosuch")
    assert "eth1" not in composer("container", "exec", name, "ip", "-o", "-4", "address").out
    composer("container", "rm", "-f", name)
    composer("network", "rm", name)


def test_a_format_wins_over_quiet(running):
    composer, name = running
    for words in (("container", "ls"), ("image", "ls"), ("volume", "ls"), ("network", "ls")):
        assert "x" in composer(*words, "-q", "--format", "x").out or words[0] == "volume"
    assert composer("container", "ls", "-q", "--format", "{{.Names}}").out.split().count(name) == 1


def test_changed_files_are_listed(composer, lone):
    composer("container", "exec", lone, "sh", "-c", "mkdir /d; echo x > /d/f; rm /etc/group; echo >> /etc/passwd")
    shown = composer("container", "diff", lone).out.splitlines()
    assert {"A /d", "A /d/f", "C /etc", "D /etc/group", "C /etc/passwd"} <= set(shown)


def test_limits_and_restart_policy_are_changed(composer, lone):
    words = ("--memory", "80m", "--memory-swap", "160m", "--pids-limit", "50", "--restart", "on-failure:3")
    done = composer("container", "update", *words, lone, "nosuch", code=1)
    assert done.out == f"{lone}\n" and "No such container: nosuch" in done.err
    template = "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}}"
    assert composer("container", "inspect", "-f", template, lone).out == f"{80 << 20} 50 on-failure\n"
    for words, said in (
        ((), "you must provide one or more flags"),
        (("--restart", "wat"), "unknown policy 'wat'"),
        (("--memory", "1m"), "Minimum memory limit allowed is 6MB"),
        (("--memory", "wat"), 'invalid argument "wat" for "--memory" flag'),
    ):
        done = composer("container", "update", *words, lone, code=None)
        assert done.code and said in done.err and done.out == ""


def test_usage_of_one_container_and_of_all(composer, lone):
    for words in ((lone,), ()):
        (row,) = map(
            json.loads, composer("container", "stats", "--no-stream", "--format", "json", *words).out.splitlines()
        )
        assert row["Name"] == lone and row["MemUsage"].endswith("/ 64MiB")
    assert "No such container" in composer("container", "stats", "--no-stream", "nosuch", code=1).err


def test_logs_with_details(composer, name):
    composer("container", "run", "--name", name, "--network", "none", "-l", "a=b c", "-e", "E=1", "--log-opt", "labels=a",
             "--log-opt", "env=E", "busybox", "echo", "said")  # fmt: skip
    assert composer("container", "logs", "--details", name).out == "E=1,a=b+c said\n"
    composer("container", "rm", name)


def test_detach_keys_of_exec_are_checked(composer, lone):
    assert composer("container", "exec", "--detach-keys", "ctrl-x,q", lone, "echo", "ok").out == "ok\n"
    assert (
        'invalid detach keys "wat-"'
        in composer("container", "exec", "--detach-keys", "wat-", lone, "true", code=None).err
    )


def test_events_of_all_projects(composer, lone):
    composer("volume", "create", f"{lone}-v")
    composer("volume", "rm", f"{lone}-v")
    now = str(time.time())
    words = ("system", "events", "--since", "5m", "--until", now)
    template = "{{.Type}} {{.Action}} {{.Status}} {{.Actor.Attributes.x}}"
    assert composer(*words, "--filter", f"container={lone}", "--format", template).out.splitlines() == [
        "container create create y", "container start start y",
    ]  # fmt: skip
    (first, *_) = map(json.loads, composer(*words, "--format", "json", "--filter", "event=create").out.splitlines())
    assert first["Type"] == "container" and first["Actor"]["Attributes"]["name"] == lone
    assert f"image=busybox, name={lone}" in composer(*words).out
    assert "invalid filter 'wat'" in composer(*words, "--filter", "wat=1", code=1).err
    # And the new events.
    watching = composer.start("system", "events", "--filter", "type=volume", "--format", "{{.Action}} {{.Actor.ID}}")
    while not select.select([watching.stdout], [], [], 0.1)[0]:  # it is not watching yet
        composer("volume", "create", f"{lone}-v")
        composer("volume", "rm", f"{lone}-v")
    assert f" {lone}-v\n" in watching.stdout.readline()
    composer.interrupt(watching)
    assert watching.returncode == 130
