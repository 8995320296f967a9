"""The keys of the specification that determine the process, seen from inside."""

import os

import pytest

from engine.container import capabilities
from engine.errors import InvalidSpec, StartFailed
from engine.spec.container import Ulimit
from engine.spec.image import ImageConfig

IDENTITY = "id -u; id -g; id -G; echo $HOME"


@pytest.mark.parametrize(
    ("user", "groups", "expected"),
    [
        ("", (), "0 0 0 /root"),
        ("web", (), "1000 1000 1000 /"),
        ("1000", (), "1000 1000 1000 /"),
        ("web:root", (), "1000 0 0 /"),
        ("1000:7", (), "1000 7 7 /"),
        ("4321", (), "4321 0 0 /"),
        ("4321:1234", (), "4321 1234 1234 /"),
        ("0", ("web", "55"), "0 0 0 55 1000 /root"),
        ("web", ("7",), "1000 1000 1000 7 /"),
    ],
)
def test_user_and_group_add(box, user, groups, expected):
    found = box.shell(IDENTITY, user=user, group_add=groups).split()
    assert [*found[:2], *sorted(found[2:-1], key=int), found[-1]] == [
        *expected.split()[:2], *sorted(expected.split()[2:-1], key=int), expected.split()[-1],
    ]  # fmt: skip


@pytest.mark.parametrize(("fields", "text"), [({"user": "nobody"}, "user nobody"), ({"user": "0:none"}, "group none"),
                                              ({"group_add": ("none",)}, "group none")])  # fmt: skip
def test_names_that_the_image_does_not_have(box, fields, text):
    record = box.create("true", **fields)
    with pytest.raises(StartFailed, match=text):
        box.do(box.session.start(record.id))


def test_an_ordinary_user_may_use_its_streams(box):
    assert box.shell("echo out > /dev/stdout; echo err > /dev/stderr; cat < /dev/stdin", user="web") == "out\nerr"


def test_working_dir_is_made(box):
    assert box.shell("pwd; stat -c %u:%a .", working_dir="/made/here", user="web") == "/made/here\n0:755"
    assert box.shell("pwd", working_dir="/made/here", read_only=True) == "/made/here"
    with pytest.raises(StartFailed, match=r"/etc/passwd.*ENOTDIR"):
        box.run("true", working_dir="/etc/passwd")


@pytest.mark.parametrize(
    ("entrypoint", "command", "expected"),
    [
        (None, None, "image entry / image command"),
        (None, ("mine",), "image entry / mine"),
        (("echo", "own"), None, "own"),
        (("echo", "own"), ("mine",), "own mine"),
        ((), ("echo", "mine"), "mine"),
    ],
)
def test_entrypoint_and_command(box, images, entrypoint, command, expected):
    config = ImageConfig(
        environment=("PATH=/bin",), entrypoint=("echo", "image entry", "/"), command=("image command",)
    )
    assert box.output(image=images(config), entrypoint=entrypoint, command=command) == expected


def test_environment(box, images):
    image = images(ImageConfig(environment=("PATH=/bin", "A=image", "B=image", "C=image")))
    script = "echo $A,$B,${C-none},$D,$HOSTNAME,$PATH"
    fields = {"environment": {"B": "own", "C": None, "D": "a b=c"}, "hostname": "me", "image": image}
    assert box.shell(script, **fields) == "image,own,none,a b=c,me,/bin"
    assert (
        box.shell("echo $PATH", environment={"PATH": None})
        == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    )


def test_entries_without_a_name_in_the_images_environment(box, images):
    image = images(ImageConfig(environment=("PATH=/bin", "", "=x", "A"), command=("sh", "-c", "sleep 1000")))
    record = box.start(image=image)
    assert box.exec(record, "sh", "-c", "echo ok")[:2] == (0, "ok\n")
    assert box.shell("echo ok", image=image) == "ok"


def test_invalid_image_user_is_printed_on_one_line(box, images):
    image = images(ImageConfig(environment=("PATH=/bin",), user="x\nservice b: all is well", command=("true",)))
    with pytest.raises(StartFailed, match=r"find user x\\nservice b: no matching entry|find user x\\nservice b"):
        box.start("true", image=image)


def test_the_images_configuration_is_taken(box, images):
    image = images(
        ImageConfig(environment=("PATH=/bin",), user="web", working_dir="/tmp", command=("sh", "-c", "id -u; pwd"))
    )
    assert box.output(image=image) == "1000\n/tmp"
    assert box.output(image=image, user="0", working_dir="/etc") == "0\n/etc"


def test_host_and_domain_name(box):
    found = box.shell(
        "hostname; cat /etc/hostname; cat /proc/sys/kernel/domainname", hostname="web", domainname="example.org"
    )
    assert found == "web\nweb\nexample.org"
    record = box.start()
    assert box.inside(record, "hostname; cat /etc/hostname") == f"{record.id[:12]}\n{record.id[:12]}"


def test_tty(box):
    script = "tty; echo $TERM; test -c /dev/console && test -t 0 && test -t 2 && echo yes; id -u"
    code, text = box.run("sh", "-c", script, tty=True, user="web")
    assert code == 0 and text.split() == ["/dev/pts/0", "xterm", "yes", "1000"]
    assert box.run("sh", "-c", "tty")[1] == "not a tty\n"


def test_a_terminal_belongs_to_the_programs_user(box):
    """The user may open it by its name; its group stays tty."""
    script = "echo by name > $(tty); stat -c '%u:%g %a' $(tty) /dev/console"
    code, text = box.run("sh", "-c", script, tty=True, user="web")
    assert code == 0 and text.split() == ["by", "name", "1000:5", "620", "1000:5", "620"]


def test_ulimits(box):
    limits = (
        Ulimit(name="nofile", soft=100, hard=200),
        Ulimit(name="nproc", soft=50, hard=60),
        Ulimit(name="core", soft=0, hard=0),
    )
    record = box.start(ulimits=limits)
    text = box.inside(record, "cat /proc/1/limits; cat /proc/self/limits")
    lines = [line.split() for line in text.splitlines()]
    assert [line[3:5] for line in lines if line[:2] == ["Max", "open"]] == [["100", "200"]] * 2
    assert [line[2:4] for line in lines if line[:2] == ["Max", "processes"]] == [["50", "60"]] * 2
    with pytest.raises(InvalidSpec, match="unknown ulimit 'files'"):
        box.create("true", ulimits=(Ulimit(name="files", soft=1, hard=1),))
    with pytest.raises(InvalidSpec, match="above the hard limit"):
        box.create("true", ulimits=(Ulimit(name="nofile", soft=2, hard=1),))


def test_oom_score_adj(box):
    assert box.shell("cat /proc/self/oom_score_adj", oom_score_adj=300, user="web") == "300"
    with open("/proc/self/status") as file:
        mask = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff"))
    if mask & 1 << capabilities.NAMES.index("SYS_RESOURCE"):
        assert box.shell("cat /proc/self/oom_score_adj", oom_score_adj=-500) == "-500"
    else:
        with pytest.raises(StartFailed, match="-500"):
            box.run("true", oom_score_adj=-500)


def test_sysctls(box):
    wanted = {"net.ipv4.ip_forward": "1", "kernel.shmmax": "12345678", "fs.mqueue.msg_max": "33"}
    found = box.shell("cd /proc/sys; cat net/ipv4/ip_forward kernel/shmmax fs/mqueue/msg_max", sysctls=wanted)
    assert found.split() == ["1", "12345678", "33"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"sysctls": {"kernel.panic": "1"}}, "belongs to the whole host"),
        ({"sysctls": {"net.ipv4.ip_forward": "1"}, "network_mode": "host"}, "host's net namespace"),
        ({"sysctls": {"kernel.shmmax": "1"}, "ipc_mode": "host"}, "host's ipc namespace"),
    ],
)
def test_sysctls_of_the_host_are_refused(box, fields, text):
    with pytest.raises(InvalidSpec, match=text):
        box.create("true", **fields)


def test_a_ports_default_of_a_container(box):
    script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; nc -l -p 80 -w 1 & sleep 0.05; kill -0 $!"
    assert box.shell(script, user="web") == "0"


def test_no_descriptor_of_composer_is_open_inside(box):
    assert box.shell("ls /proc/self/fd").split() == ["0", "1", "2", "3"]  # 3 belongs to ls
    assert box.shell("tr '\\0' '\\n' < /proc/1/environ | cut -d= -f1 | sort | xargs") == "HOME HOSTNAME PATH"
    assert os.path.basename(box.shell("readlink /proc/1/exe")) == "busybox"
