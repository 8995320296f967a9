"""Bodies are read as Go reads them: any case, null for unset, unknown fields named."""

import pytest

from composer.serve.docker.body import Create, shaped, words
from composer.serve.http.errors import BadRequest


def test_names_are_found_in_any_case():
    found, unknown = shaped({"image": "x", "HOSTCONFIG": {"readonlyrootfs": True, "BlkioDeviceReadIOps": []}}, Create)
    assert (found.image, found.host_config.readonly_rootfs) == ("x", True)
    assert not unknown


def test_null_is_unset():
    found, _ = shaped({"Image": "x", "Cmd": None, "HostConfig": None, "Labels": None}, Create)
    assert (found.cmd, found.host_config, found.labels) == (None, None, None)


def test_unknown_fields_are_named():
    _, unknown = shaped({"Image": "x", "Nosuch": 1, "HostConfig": {"Mounts": [{"Type": "bind", "Odd": 2}]}}, Create)
    assert unknown == ["Nosuch", "HostConfig.Mounts[0].Odd"]


def test_labels_are_no_fields():
    found, unknown = shaped({"Labels": {"nosuch": "1"}, "HostConfig": {"PortBindings": {"80/tcp": None}}}, Create)
    assert (found.labels, unknown) == ({"nosuch": "1"}, [])


def test_a_command_may_be_one_word():
    assert words(shaped({"Cmd": "sh"}, Create)[0].cmd) == ("sh",)
    assert words(shaped({"Cmd": ["sh", "-c"]}, Create)[0].cmd) == ("sh", "-c")


@pytest.mark.parametrize("body", [[], "x", {"Image": 1}, {"HostConfig": []}, {"HostConfig": {"Memory": "much"}}])
def test_a_wrong_value_is_refused(body):
    with pytest.raises(BadRequest, match="invalid JSON"):
        shaped(body, Create)
