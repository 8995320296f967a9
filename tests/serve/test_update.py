"""Limits and restart policy of existing containers, and their changes to files."""

import pytest

MEBIBYTE = 1 << 20


@pytest.fixture
def running(api):
    """A container that sleeps; removed at the end."""
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}
    found = api("POST", "/containers/create?name=api-update", body)["Id"]
    api("POST", f"/containers/{found}/start")
    yield found
    api.raw("DELETE", f"/containers/{found}?force=1&v=1")


def limit_of(api, container):
    """The memory limit that the kernel has for the container's first process, in bytes."""
    pid = api.get(f"/containers/{container}/json")["State"]["Pid"]
    with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
        rows = [line.rstrip("\n").split(":", 2) for line in file]
    places = {controller: path for _, controllers, path in rows for controller in controllers.split(",")}
    path = f"memory{places['memory']}/memory.limit_in_bytes" if "memory" in places else f"{places['']}/memory.max"
    with open(f"/sys/fs/cgroup/{path.lstrip('/')}", encoding="ascii") as file:
        text = file.read().strip()
    return 0 if text == "max" else int(text)


def test_limits_change_while_it_runs(api, running):
    wanted = {"Memory": 100 * MEBIBYTE, "MemorySwap": 200 * MEBIBYTE, "PidsLimit": 77, "NanoCpus": 300_000_000}
    assert api("POST", f"/containers/{running}/update", wanted) == {"Warnings": None}
    assert limit_of(api, running) == 100 * MEBIBYTE
    found = api.get(f"/containers/{running}/json")["HostConfig"]
    assert {name: found[name] for name in wanted} == wanted
    # Both grow, and both shrink: each bounds the other.
    for factor in (3, 1):
        api("POST", f"/containers/{running}/update", {name: wanted[name] * factor for name in ("Memory", "MemorySwap")})
        assert limit_of(api, running) == 100 * MEBIBYTE * factor
    api("POST", f"/containers/{running}/restart?t=0")
    assert limit_of(api, running) == 100 * MEBIBYTE


def test_a_limit_whose_cgroup_nothing_has_needed_so_far(api, running):
    api("POST", f"/containers/{running}/update", {"CpusetCpus": "0"})
    pid = api.get(f"/containers/{running}/json")["State"]["Pid"]
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        assert "Cpus_allowed_list:\t0\n" in file.read()


def test_the_restart_policy_counts_from_the_next_end(api, running):
    policy = {"Name": "on-failure", "MaximumRetryCount": 4}
    api("POST", f"/containers/{running}/update", {"RestartPolicy": policy})
    assert api.get(f"/containers/{running}/json")["HostConfig"]["RestartPolicy"] == policy


def test_impossible_changes_are_refused(api, running):
    before = api.get(f"/containers/{running}/json")["HostConfig"]
    for body, status, words in (
        ({"Memory": MEBIBYTE}, 400, "Minimum memory limit allowed is 6MB"),
        ({"NanoCpus": 10**13}, 400, "range of CPUs is from 0.01 to"),
        ({"RestartPolicy": {"Name": "never"}}, 400, "invalid restart policy: unknown policy 'never'"),
        ({"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 1}]}, 400, "ulimits cannot be changed"),
        ({"CpusetCpus": "4096"}, 400, "Requested CPUs are not available"),
    ):
        found = api.refused("POST", f"/containers/{running}/update", body)
        assert found[0] == status and words in found[1]
    assert api.get(f"/containers/{running}/json")["HostConfig"] == before
    assert api.refused("POST", "/containers/absent/update", {})[0] == 404


def test_changes_name_what_was_added_modified_and_deleted(api):
    script = "mkdir -p /new/deep; echo x > /new/deep/file; echo y >> /etc/passwd; rm /etc/group; rm -r /var"
    script += "; touch /gone; rm /gone"
    body = {"Image": "busybox", "Cmd": ["sh", "-c", script], "HostConfig": {"NetworkMode": "none"}}
    one = api("POST", "/containers/create", body)["Id"]
    try:
        assert api.get(f"/containers/{one}/changes") is None
        api("POST", f"/containers/{one}/start")
        api("POST", f"/containers/{one}/wait")
        found = {row["Path"]: row["Kind"] for row in api.get(f"/containers/{one}/changes")}
        assert {path: found.get(path) for path in ("/new", "/new/deep", "/new/deep/file")} == dict.fromkeys(
            ("/new", "/new/deep", "/new/deep/file"), 1
        )
        assert (found["/etc"], found["/etc/passwd"], found["/etc/group"], found["/var"]) == (0, 0, 2, 2)
        assert "/gone" not in found and "/bin" not in found
    finally:
        api.raw("DELETE", f"/containers/{one}?force=1")
