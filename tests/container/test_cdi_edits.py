"""The effects of a CDI specification's containerEdits, seen from inside a container, and the members that are refused
by name."""

import json
import subprocess

import pytest

from engine.container import cdi, devices
from engine.errors import InvalidSpec, OperationFailed, Unsupported
from engine.kernel import idmap
from engine.spec.container import ContainerSpec, Device, DeviceRequest, Mount

REQUEST = (DeviceRequest(driver="cdi", device_ids=("vendor.com/card=one",)),)


@pytest.fixture
def edits(tmp_path, monkeypatch):
    """Writes the edits of vendor.com/card=one."""
    monkeypatch.setattr(cdi, "FOLDERS", (str(tmp_path / "cdi"),))
    (tmp_path / "cdi").mkdir()

    def write(**edits):
        found = {
            "cdiVersion": "0.7.0",
            "kind": "vendor.com/card",
            "devices": [{"name": "one", "containerEdits": edits}],
        }
        (tmp_path / "cdi" / "vendor.json").write_text(json.dumps(found))

    return write


@pytest.fixture
def tree(tmp_path):
    """A folder on a tmpfs without devices, with another one mounted below it."""
    place = tmp_path / "tree"
    place.mkdir()
    for folder in (place, place / "below"):
        folder.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "nodev", "none", folder], check=True)
    yield str(place)
    subprocess.run(["umount", "-R", place], check=True)


def applied(**fields):
    return cdi.applied(ContainerSpec(name="c", image="a", device_requests=REQUEST, **fields))


NODES = {
    "the host's number, anybody's": ({"hostPath": "/dev/zero"}, "character special file 1:5 666 0:0"),
    "owner and mode": (
        {"hostPath": "/dev/zero", "fileMode": 0o20640, "uid": 7, "gid": 8},
        "character special file 1:5 640 7:8",
    ),
    "what the host has not": ({"type": "c", "major": 10, "minor": 235}, "character special file a:eb 666 0:0"),
    "unbuffered": ({"type": "u", "major": 10, "minor": 0, "fileMode": 0}, "character special file a:0 0 0:0"),
    "block": ({"type": "b", "major": 259, "minor": 300, "gid": 6}, "block special file 103:12c 666 0:6"),
    "number of our own": ({"hostPath": "/dev/zero", "major": 1, "minor": 3}, "character special file 1:3 666 0:0"),
    "FIFO": ({"type": "p", "fileMode": 0o622}, "fifo 0:0 622 0:0"),
}


def test_device_nodes(box, edits):
    places = [f"/dev/own/{number}" for number in range(len(NODES))]
    edits(deviceNodes=[{"path": path, **node} for path, (node, _) in zip(places, NODES.values(), strict=True)])
    found = box.shell(f"stat -c '%F %t:%T %a %u:%g' {' '.join(places)}", device_requests=REQUEST)
    assert dict(zip(NODES, found.splitlines(), strict=True)) == {name: text for name, (_, text) in NODES.items()}


def test_device_permissions(box, edits):
    node = {"type": "c", "major": 10, "minor": 235}
    for words, rule in (("rw", ["c 10:235 rw"]), ("", ["c 10:235 rwm"]), ("none", [])):
        edits(deviceNodes=[{"path": "/dev/own", **node, "permissions": words}, {"path": "/dev/pipe", "type": "p"}])
        spec = applied()
        assert devices.rules(spec, devices.nodes(spec)) == [*devices.DEFAULT_RULES, *rule]
        assert box.shell("stat -c %t:%T /dev/own", device_requests=REQUEST) == "a:eb"


def test_a_private_user_namespace(box, edits):
    edits(deviceNodes=[{"path": "/dev/own", "hostPath": "/dev/zero", "fileMode": 0o640, "uid": 7, "gid": 8}])
    script = "stat -c '%F %t:%T %a %u:%g' /dev/own"
    found = box.shell(script, device_requests=REQUEST, userns_mode="private")
    assert found == "character special file 1:5 640 7:8"


def test_a_privileged_container(box, edits):
    edits(deviceNodes=[{"path": "/dev/own", "hostPath": "/dev/zero"}, {"path": "/dev/kmsg", "hostPath": "/dev/null"}])
    script = "stat -c '%t:%T' /dev/own /dev/kmsg /dev/zero"
    assert box.shell(script, device_requests=REQUEST, privileged=True) == "1:5\n1:3\n1:5"


def test_mounts_at_the_same_target_replace_each_other(edits):
    edits(
        deviceNodes=[{"path": "/dev/own", "hostPath": "/dev/full"}],
        mounts=[{"hostPath": "/etc", "containerPath": "/mnt/"}],
        additionalGids=[0, 44],
    )
    before = Device(path_on_host="/dev/null", path_in_container="/dev/own")
    spec = applied(devices=(before,), mounts=(Mount(type="tmpfs", target="/mnt"),))
    assert [device.path_on_host for device in spec.devices] == ["/dev/full"]
    assert [mount.type for mount in spec.mounts] == ["bind"]
    assert spec.group_add == ("44",)


@pytest.mark.parametrize(
    ("options", "itself", "below"),
    [
        ([], "rw,nodev", "rw,nodev"),
        (["bind"], "rw,nodev", None),
        (["rbind", "ro", "nosuid", "noexec", "noatime"], "ro,nosuid,nodev,noexec,noatime", "rw,nodev"),
        (["rbind", "rro", "rnosuid"], "ro,nosuid,nodev", "ro,nosuid,nodev"),
        (["bind", "dev", "strictatime", "nosymfollow"], "rw,nosymfollow", None),
        (["bind", "ro", "rw", "noatime", "relatime", "nodiratime"], "rw,nodev,nodiratime", None),
    ],
)
def test_options_of_a_bind(box, edits, tree, options, itself, below):
    edits(mounts=[{"hostPath": tree, "containerPath": "/tree", "options": options}])
    mounts = box.shell("cat /proc/self/mountinfo", device_requests=REQUEST)
    found = {line.split()[4]: set(line.split()[5].split(",")) - {"relatime"} for line in mounts.splitlines()}
    assert found["/tree"] == set(itself.split(","))
    assert found.get("/tree/below") == (below and set(below.split(",")))


def test_a_tmpfs(box, edits):
    mount = {
        "hostPath": "tmpfs",
        "containerPath": "/own",
        "type": "tmpfs",
        "options": ["size=64k", "mode=0750", "nodev"],
    }
    edits(mounts=[mount])
    script = "stat -c %a /own; grep ' /own ' /proc/mounts"
    mode, line = box.shell(script, device_requests=REQUEST).splitlines()
    assert (mode, {"size=64k", "nodev"} <= set(line.split()[3].split(","))) == ("750", True)
    assert not {"nosuid", "noexec"} & set(line.split()[3].split(","))


@pytest.mark.parametrize(
    ("member", "error", "text"),
    [
        ({"deviceNodes": [{"path": "dev/x"}]}, InvalidSpec, r"vendor\.json: .*deviceNodes\[0\]\.path"),
        ({"deviceNodes": [{"path": "/dev/x", "type": "d"}]}, InvalidSpec, r"'d'.*deviceNodes\[0\]\.type"),
        ({"deviceNodes": [{"path": "/dev/x", "permissions": "rx"}]}, InvalidSpec, r"deviceNodes\[0\]\.permissions"),
        ({"deviceNodes": [{"path": "/dev/x", "fileMode": "0666"}]}, InvalidSpec, r"deviceNodes\[0\]\.fileMode"),
        ({"deviceNodes": [{"path": "/dev/x", "colour": 1}]}, InvalidSpec, "unknown field `colour`"),
        ({"mounts": [{"containerPath": "/x"}]}, InvalidSpec, "missing required field `hostPath`"),
        ({"env": ["LONELY"]}, InvalidSpec, r"env\[0\]"),
        (
            {"mounts": [{"hostPath": "/x", "containerPath": "/x", "type": "nfs"}]},
            Unsupported,
            "at /x has the type 'nfs'",
        ),
        (
            {"mounts": [{"hostPath": "/x", "containerPath": "/x", "options": ["bind", "sync"]}]},
            Unsupported,
            "at /x has the option 'sync'",
        ),
        (
            {"mounts": [{"hostPath": "/x", "containerPath": "/x", "options": ["rbind", "ro", "rnoexec"]}]},
            Unsupported,
            "'ro' for the mount itself and 'rnoexec'",
        ),
    ],
)
def test_unsupported_options_are_named(edits, member, error, text):
    edits(**member)
    with pytest.raises(error, match=text):
        applied()


@pytest.mark.parametrize(
    ("node", "error", "text"),
    [
        ({"path": "/dev/null", "type": "b"}, InvalidSpec, "/dev/null is of type c, not b"),
        ({"path": "/dev/x", "type": "c"}, OperationFailed, "ENOENT"),
    ],
)
def test_missing_values_are_read_from_the_host(edits, node, error, text):
    edits(deviceNodes=[node])
    with pytest.raises(error, match=text):
        devices.nodes(applied())


def test_an_ordinary_user_has_the_hosts_nodes_only(edits, monkeypatch):
    monkeypatch.setattr(idmap, "initial", lambda: False)
    edits(deviceNodes=[{"path": "/dev/x", "hostPath": "/dev/null", "type": "c", "major": 1, "minor": 3}])
    (node,) = devices.nodes(applied())
    assert (node["source"], node["major"], node["minor"]) == ("/dev/null", 1, 3)
    for member in ({"minor": 5}, {"fileMode": 0o600}, {"uid": 7}):
        edits(deviceNodes=[{"path": "/dev/x", "hostPath": "/dev/null", "type": "c", "major": 1, "minor": 3, **member}])
        with pytest.raises(Unsupported, match="/dev/x must have the number, mode and owner of /dev/null"):
            devices.nodes(applied())
