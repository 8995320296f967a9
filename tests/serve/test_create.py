"""A client's settings for a new container: refused, with a warning, or honoured (messages of Docker Engine 28.5)."""

import json
import os

import pytest

REFUSED = {
    "No such container: absent": {"PidMode": "container:absent"},
    "invalid UTS mode: container:x": {"UTSMode": "container:x"},
    "invalid cgroup namespace mode: x": {"CgroupnsMode": "x"},
    "invalid network mode: invalid container format container:<name|id>": {"NetworkMode": "container:"},
    "could not get container for absent: No such container: absent": {"Links": ["absent"]},
    "conflicting options: dns and the network mode": {"NetworkMode": "container:x", "Dns": ["1.1.1.1"]},
    "conflicting options: port publishing and the container type network mode": {
        "NetworkMode": "container:x",
        "PublishAllPorts": True,
    },
    "SHM size can not be less than 0": {"ShmSize": -1},
    "Minimum memory reservation allowed is 6MB": {"MemoryReservation": 100},
    "Requested memory nodes are not available - requested 77, available: 0": {"CpusetMems": "77"},
    "Invalid value abc for cpuset cpus: invalid format: abc": {"CpusetCpus": "abc"},
    "Invalid value 2000, range for oom score adj is [-1000, 1000]": {"OomScoreAdj": 2000},
    "invalid isolation (hyperv): linux only supports 'default'": {"Isolation": "hyperv"},
    'error looking up logging plugin zz: plugin "zz" not found': {"LogConfig": {"Type": "zz"}},
    'invalid mount config for type "npipe": mount type unknown': {"Mounts": [{"Type": "npipe", "Target": "/x"}]},
    "device_cgroup_rules: 'zzz' is not of the form 'c 1:3 rwm'": {"DeviceCgroupRules": ["zzz"]},
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused_in_dockers_words(api, message):
    status, said = api.refused(
        "POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"], "HostConfig": REFUSED[message]}
    )
    assert (status, said.partition(", available:")[0]) == (400, message.partition(", available:")[0])


def test_an_image_to_mount_must_exist(api):
    body = {"Image": "busybox", "HostConfig": {"Mounts": [{"Type": "image", "Source": "absent", "Target": "/x"}]}}
    assert api.refused("POST", "/containers/create", body) == (404, "No such image: absent:latest")


def output(api, name, script, **host):
    """The output of a container, which is removed afterwards."""
    body = {"Image": "busybox", "Cmd": ["sh", "-c", script], "Tty": True, "HostConfig": {"NetworkMode": "none", **host}}
    made = api("POST", f"/containers/create?name={name}", body)
    try:
        assert api.raw("POST", f"/containers/{name}/start")[0] == 204
        api("POST", f"/containers/{name}/wait")
        return made["Warnings"], api.raw("GET", f"/containers/{name}/logs?stdout=1")[2].decode().split()
    finally:
        api.raw("DELETE", f"/containers/{name}?force=1")


def test_masked_and_read_only_paths_are_the_ones_asked_for(api):
    script = """
        for file in uptime interrupts; do head -c 4 /proc/$file | wc -c; done
        grep -E ' /proc/(irq|sys) proc ro' /proc/mounts | cut -d ' ' -f 2
    """
    assert output(api, "api-seal", script)[1] == ["4", "0", "/proc/irq", "/proc/sys"]
    own = {"MaskedPaths": ["/proc/uptime"], "ReadonlyPaths": ["/proc/irq"]}
    assert output(api, "api-own-seal", script, **own)[1] == ["0", "4", "/proc/irq"]


def test_memory_nodes_are_those_asked_for(api):
    script = "grep Mems_allowed_list /proc/self/status"
    assert output(api, "api-nodes", script, CpusetMems="0")[1] == ["Mems_allowed_list:", "0"]


def test_warnings(api):
    ports = {"80/tcp": [{"HostPort": "18099"}]}
    said, _ = output(api, "api-host", "true", NetworkMode="host", PortBindings=ports)
    assert said == ["Published ports are discarded when using host network mode"]


def test_a_network_namespace_to_join_is_looked_for_at_the_start(api):
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "container:api-late"}}
    api("POST", "/containers/create?name=api-joining", body)
    try:
        status, content = (answer := api.raw("POST", "/containers/api-joining/start"))[0], answer[2]
        assert (status, json.loads(content)["message"]) == (
            404,
            "joining network namespace of container: No such container: api-late",
        )
        api("POST", "/containers/create?name=api-late", {"Image": "busybox", "Cmd": ["sleep", "60"]})
        assert api.raw("POST", "/containers/api-late/start")[0] == 204
        assert api.raw("POST", "/containers/api-joining/start")[0] == 204
    finally:
        for name in ("api-joining", "api-late"):
            api.raw("DELETE", f"/containers/{name}?force=1")


def test_the_platform_of_the_image_must_fit(api):
    body = {"Image": "busybox", "Cmd": ["true"]}
    foreign = "arm64" if os.uname().machine == "x86_64" else "amd64"
    status, said = api.refused("POST", f"/containers/create?platform=linux/{foreign}", body)
    assert (status, said.startswith("image with reference busybox was found but its platform (linux/")) == (404, True)
    assert api.refused("POST", "/containers/create?platform=foo", body) == (
        400,
        '"foo": unknown operating system or architecture: invalid argument',
    )
