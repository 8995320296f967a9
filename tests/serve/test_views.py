"""Running containers, as clients of the Docker API see them."""

import json
import os
import stat
import subprocess
import tempfile
import urllib.parse

import pytest

from tests.serve.conftest import serving

PROJECT = """
services:
  web:
    image: busybox
    command: sleep 1000
    labels: {tier: front}
    environment: {A: b}
    volumes: ["data:/data", "./:/src:ro"]
    ports: ["127.0.0.1:18080:80"]
    healthcheck: {test: "true", interval: 60s}
  done:
    image: busybox
    command: sh -c "exit 3"
volumes: {data: {}}
"""


@pytest.fixture
def project(composer, api):
    """A project with a running and an ended container."""
    composer.write(compose=PROJECT)
    composer("up", "-d", "--wait", "web")
    composer("up", "--exit-code-from", "done", "done", code=3)
    return api


def filtered(**filters):
    return "filters=" + urllib.parse.quote(json.dumps(filters))


def names(records):
    return {name.removeprefix("/").split("-")[-2] for record in records for name in record["Names"]}


def test_containers_are_listed(project):
    (record,) = project.get("/v1.44/containers/json")
    assert record["State"] == "running"
    assert record["Status"].startswith("Up ") and record["Status"].endswith("(healthy)")
    assert record["Command"] == "sleep 1000"
    assert record["Ports"] == [{"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 18080, "Type": "tcp"}]
    assert record["Labels"]["tier"] == "front"
    assert {mount["Destination"] for mount in record["Mounts"]} == {"/data", "/src"}
    assert names(project.get("/containers/json?all=1")) == {"web", "done"}


FILTERED = [
    ({"name": ["web"]}, {"web"}),
    ({"name": ["^/.*-done-1$"]}, {"done"}),
    ({"status": ["exited"]}, {"done"}),
    ({"status": {"running": True, "exited": False}}, {"web"}),
    ({"exited": ["3"]}, {"done"}),
    ({"exited": ["0"]}, set()),
    ({"label": ["tier=front"]}, {"web"}),
    ({"label": ["tier", "nosuch"]}, set()),
    ({"health": ["healthy"]}, {"web"}),
    ({"publish": ["80"]}, {"web"}),
    ({"publish": ["18000-18100/tcp"]}, {"web"}),
    ({"publish": ["80/udp"]}, set()),
    ({"ancestor": ["busybox"]}, {"web", "done"}),
    ({"volume": ["/src"]}, {"web"}),
    ({"network": ["host"]}, set()),
]


def test_containers_are_filtered(project):
    for filters, expected in FILTERED:
        assert names(project.get(f"/containers/json?all=1&{filtered(**filters)}")) == expected, filters


def test_wrong_requests_are_refused_in_dockers_words(api):
    assert api.refused("GET", "/containers/nosuch/json") == (404, "No such container: nosuch")
    assert api.refused("GET", "/images/nosuch/json") == (404, "No such image: nosuch:latest")
    assert api.refused("GET", "/networks/nosuch") == (404, "network nosuch not found")
    assert api.refused("GET", "/volumes/nosuch") == (404, "get nosuch: no such volume")
    assert api.refused("GET", "/containers/json?filters=nonsense") == (400, "invalid filter")
    assert api.refused("GET", f"/containers/json?{filtered(nosuch=['1'])}") == (400, "invalid filter 'nosuch'")
    assert api.refused("GET", f"/containers/json?{filtered(status=['up'])}") == (
        400,
        "invalid filter 'status=up': invalid value for state (up): must be one of created, running, paused, restarting, "
        "removing, exited, dead",
    )
    assert api.refused("GET", "/nosuch") == (404, "page not found")
    status, message = api.refused("GET", "/v1.99/containers/json")
    assert (status, message) == (400, "client version 1.99 is too new. Maximum supported API version is 1.55")
    assert api.refused("GET", "/v1.12/info")[0] == 400


def test_a_container_is_inspected(project):
    (listed,) = project.get("/containers/json")
    found = project.get(f"/containers/{listed['Id'][:12]}/json")
    assert found["Id"] == listed["Id"]
    assert found["State"]["Status"] == "running" and found["State"]["Health"]["Status"] == "healthy"
    assert found["Config"]["Env"][0] == "A=b"
    assert found["Path"], found["Args"] == ("sleep", ["1000"])
    assert found["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]}
    (network,) = found["NetworkSettings"]["Networks"].values()
    assert network["IPAddress"].startswith("172.")
    (member,) = project.get(f"/networks/{network['NetworkID'][:12]}")["Containers"].values()
    assert member["IPv4Address"].partition("/")[0] == network["IPAddress"]
    assert project.get(f"/containers/{listed['Id']}/top")["Processes"][0][-1] == "sleep 1000"


def test_objects_of_the_project_are_listed(project):
    (volume,) = project.get("/volumes")["Volumes"]
    assert volume["Labels"]["com.docker.compose.volume"] == "data"
    assert volume["Mountpoint"] == project.get(f"/volumes/{volume['Name']}")["Mountpoint"]
    assert {network["Name"].split("_")[-1] for network in project.get("/networks")} >= {"default", "host", "none"}
    (image,) = project.get(f"/images/json?{filtered(reference=['busybox'])}")
    assert "busybox:latest" in image["RepoTags"]
    assert project.get("/images/busybox:latest/json")["Id"] == image["Id"]
    assert [step["Id"] for step in project.get("/images/busybox/history")] == [image["Id"]]
    assert project.get("/info")["ContainersRunning"] == 1


def test_the_socket_belongs_to_its_owner(roots, tmp_path):
    path = tmp_path / "d.sock"
    with serving(roots, "--socket", str(path)):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        again = subprocess.run(
            ["python3", "-c", "import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])", path],
            user=65534,
            capture_output=True,
            text=True,
        )
        assert "PermissionError" in again.stderr


def test_members_of_the_group_reach_the_socket(roots):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o711)
        path = f"{folder}/new/d.sock"
        with serving(roots, "--socket", path, "--group", "54321"):
            assert (stat.S_IMODE(os.stat(path).st_mode), os.stat(path).st_gid) == (0o660, 54321)
            for groups, expected in ((54321, 0), (12345, 1)):
                code = "import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
                words = ["python3", "-c", code, path]
                done = subprocess.run(
                    words, user=65534, group=65534, extra_groups=[groups], capture_output=True, text=True
                )
                assert done.returncode == expected, done.stderr


def test_a_socket_that_the_group_cannot_reach_is_refused(roots, composer):
    refused = composer("serve", "--group", "54321", code=1).err
    assert refused.startswith(f"serve --group: the group cannot reach {roots.run}/docker.sock, because /")
    assert "--socket" in refused


def test_a_second_server_on_one_socket_is_refused(roots, api, composer):
    assert composer("serve", code=1).err == f"serve: another process already serves on {api.path}\n"


def test_lists_follow_changes_at_once(api):
    body = {"Image": "busybox", "Cmd": ["sleep", "100"], "HostConfig": {"NetworkMode": "none"}}
    one = api("POST", "/containers/create?name=row", body)["Id"]

    def row():
        return next(row for row in api.get("/containers/json?all=1") if row["Id"] == one)

    for _ in range(2):
        assert (row()["State"], row()["Status"], row()["Names"]) == ("created", "Created", ["/row"])
    api("POST", f"/containers/{one}/start")
    assert row()["State"] == "running" and row()["Status"].startswith("Up ")
    api("POST", f"/containers/{one}/pause")
    assert row()["Status"].endswith("(Paused)")
    api("POST", f"/containers/{one}/rename?name=other-row")
    assert row()["Names"] == ["/other-row"] and api.get("/containers/other-row/json")["Name"] == "/other-row"
    assert api.refused("GET", "/containers/row/json") == (404, "No such container: row")
    api("POST", "/images/busybox/tag?repo=again&tag=1")
    api("DELETE", f"/containers/{one}?force=1")
    assert one not in [row["Id"] for row in api.get("/containers/json?all=1")]


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ("//_ping", "/_ping"),
        ("/v1.51//containers//json?all=1", "/v1.51/containers/json?all=1"),
        ("/v1.51/containers/../info", "/v1.51/info"),
    ],
)
def test_a_path_with_empty_or_dot_segments_is_redirected(api, asked, place):
    status, headers, body = api.raw("GET", asked)
    assert (status, headers["Location"], body) == (301, place, b"")


def test_events_that_end_before_they_begin_are_refused(api):
    status, _, body = api.raw("GET", "/events?since=2&until=1")
    assert status == 400 and b"`since` time (2) cannot be after `until` time (1)" in body


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1.44.1/_ping", 200),
        ("/v1/_ping", 400),
        ("/v./_ping", 400),
        ("/v2/_ping", 400),
        ("/v1.24%D9%A4/_ping", 404),
        (f"/v1.{'9' * 5000}/_ping", 400),
        ("/containers/json?all=1;limit=1", 400),
        ("/containers/json?all=%zz", 400),
        ("/containers/json?all=%", 400),
    ],
)
def test_odd_versions_and_queries_are_answered_as_by_docker(api, path, status):
    assert api.raw("GET", path)[0] == status


def test_options_are_answered_for_any_path(api):
    status, _, body = api.raw("OPTIONS", "/nosuch")
    assert (status, body) == (200, b"")


@pytest.mark.parametrize(("body", "status"), [(None, 404), ([], 404), ({"a": 1}, 400)])
def test_start_ignores_an_empty_body_only(api, body, status):
    """`{"a": 1}` has 8 bytes, one more than Docker ignores."""
    assert api.raw("POST", "/containers/nosuch/start", body)[0] == status
