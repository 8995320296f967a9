"""Devices that CDI specifications describe, and the keys that request them: devices, gpus, deploy's reservations."""

import json

import msgspec
import pytest

from engine.container import cdi
from engine.errors import InvalidSpec, NotFound, Unsupported
from engine.spec.container import ContainerSpec, DeviceRequest

EDITS = {
    "deviceNodes": [{"path": "/dev/accelerator", "hostPath": "/dev/null", "permissions": "rw"}],
    "env": ["VENDOR=one"],
    "additionalGids": [44],
}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Writes specifications: kind → name → edits; the kind's own under ""."""
    monkeypatch.setattr(cdi, "FOLDERS", (str(tmp_path / "a"), str(tmp_path / "b")))

    def write(kind, devices, folder="a", suffix="json"):
        (tmp_path / folder).mkdir(exist_ok=True)
        own = devices.pop("", {})
        found = {
            "cdiVersion": "0.6.0",
            "kind": kind,
            "devices": [{"name": name, "containerEdits": edits} for name, edits in devices.items()],
            "containerEdits": own,
        }
        (tmp_path / folder / f"{kind.replace('/', '-')}.{suffix}").write_text(json.dumps(found))

    return write


def applied(**request):
    return cdi.applied(ContainerSpec(name="c", image="a", device_requests=(DeviceRequest(**request),)))


def environment(**request):
    return applied(**request).environment


def test_specifications_are_read_only_on_request(folders):
    folders("vendor.com/gpu", {"0": {}}, suffix="json")
    spec = ContainerSpec(name="c", image="a")
    assert cdi.applied(spec) is spec


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_qualified_name(folders, suffix):
    folders("vendor.com/card", {"": {"env": ["ALL=1"]}, "one": EDITS, "two": {"env": ["VENDOR=two"]}}, suffix=suffix)
    spec = applied(driver="cdi", device_ids=("vendor.com/card=one",))
    assert spec.environment == {"ALL": "1", "VENDOR": "one"}
    assert [(d.path_on_host, d.path_in_container, d.permissions) for d in spec.devices] == [
        ("/dev/null", "/dev/accelerator", "rw")
    ]
    assert spec.group_add == ("44",)


def test_later_folders_come_first(folders):
    folders("vendor.com/card", {"one": {"env": ["FROM=a"]}})
    folders("vendor.com/card", {"one": {"env": ["FROM=b"]}}, folder="b")
    assert environment(driver="cdi", device_ids=("vendor.com/card=one",)) == {"FROM": "b"}


def test_gpus(folders):
    folders("amd.com/gpu", {"0": {"env": ["A=0"]}, "1": {"env": ["B=1"]}})
    assert environment(count=-1, capabilities=("gpu",)) == {"A": "0", "B": "1"}
    assert environment(count=1, capabilities=("gpu",)) == {"A": "0"}
    assert environment(device_ids=("1",), capabilities=("gpu",), driver="amd") == {"B": "1"}
    folders("nvidia.com/gpu", {"0": {}, "all": {"env": ["ALL=1"]}})
    assert environment(count=-1, capabilities=("gpu",)) == {"ALL": "1"}
    with pytest.raises(NotFound, match="3 were requested, 2 exist"):
        applied(count=3, capabilities=("gpu",), driver="amd")


def test_missing_content(folders):
    with pytest.raises(Unsupported, match=r'could not select device driver "nvidia" with capabilities: \[\[gpu\]\]'):
        applied(count=-1, capabilities=("gpu",), driver="nvidia")
    with pytest.raises(NotFound, match=r"vendor\.com/card=one"):
        applied(driver="cdi", device_ids=("vendor.com/card=one",))
    folders("vendor.com/card", {"two": {}})
    with pytest.raises(NotFound, match=r"Known: vendor\.com/card=two"):
        applied(driver="cdi", device_ids=("vendor.com/card=one",))


def test_hooks_are_refused_by_name(folders):
    folders("vendor.com/card", {"one": {"hooks": [{"hookName": "createContainer", "path": "/usr/bin/vendor-hook"}]}})
    with pytest.raises(Unsupported, match="/usr/bin/vendor-hook"):
        applied(driver="cdi", device_ids=("vendor.com/card=one",))


def test_a_damaged_file_is_named(folders, tmp_path):
    folders("vendor.com/card", {"one": {}})
    (tmp_path / "a" / "broken.json").write_text("{")
    with pytest.raises(InvalidSpec, match=r"broken\.json"):
        applied(driver="cdi", device_ids=("vendor.com/card=one",))


def test_device_appears_in_container(box, folders, tmp_path):
    (tmp_path / "library").write_text("of the vendor")
    mount = {"hostPath": str(tmp_path / "library"), "containerPath": "/usr/lib/vendor", "options": ["ro", "rbind"]}
    folders("vendor.com/card", {"one": {**EDITS, "mounts": [mount]}})
    request = DeviceRequest(driver="cdi", device_ids=("vendor.com/card=one",))
    script = "cat /usr/lib/vendor; echo; echo $VENDOR; stat -c %t:%T /dev/accelerator; echo x > /dev/accelerator; id -G"
    assert box.shell(script, device_requests=(request,)).split("\n")[:3] == ["of the vendor", "one", "1:3"]
    with pytest.raises(NotFound, match=r"vendor\.com/card=three"):
        box.create("true", device_requests=(msgspec.structs.replace(request, device_ids=("vendor.com/card=three",)),))


def test_seen_from_inside(box, folders, tmp_path):
    (tmp_path / "library").write_text("vendor's\n")
    mount = {"hostPath": str(tmp_path / "library"), "containerPath": "/usr/lib/vendor", "options": ["ro", "bind"]}
    folders("vendor.com/gpu", {"0": {**EDITS, "mounts": [mount]}})
    request = (DeviceRequest(capabilities=("gpu",), count=1),)
    script = "stat -c '%t:%T' /dev/accelerator; echo $VENDOR; cat /usr/lib/vendor; id -G; ! (echo > /usr/lib/vendor) 2>/dev/null"
    assert box.shell(script, device_requests=request) == "1:3\none\nvendor's\n0 44"


def test_unknown_devices_are_refused(folders):
    folders("vendor.com/net", {"0": {"netDevices": [{"hostInterfaceName": "eth9"}]}})
    with pytest.raises(Unsupported, match="needs netDevices"):
        applied(driver="cdi", device_ids=("vendor.com/net=0",))
