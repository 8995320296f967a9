"""What restricted servers refuse: --read-only, and --project with every way to reach beyond the project, each one
attacked."""

import base64
import contextlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
import urllib.parse

import pytest

from composer.serve.access import OWN, READS
from composer.serve.routes import ROUTES
from tests.serve.conftest import serving

COMPOSE = "services: {web: {image: busybox, command: sleep 1000, volumes: ['data:/data']}}\nvolumes: {data: {}}\n"


@pytest.fixture
def container(api):
    """A running container without a project."""
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}
    found = api("POST", "/containers/create?name=api-foreign", body)["Id"]
    api("POST", f"/containers/{found}/start")
    yield found
    api.raw("DELETE", f"/containers/{found}?force=1&v=1")


@pytest.fixture
def reading(roots):
    with serving(roots, "--read-only", "--socket", f"{roots.run}/reading.sock") as found:
        yield found


@pytest.fixture
def narrow(roots, composer, container):
    """A server for the project `mine` alone, which has a container, a network and a volume."""
    composer.write(compose=COMPOSE)
    composer("-p", "mine", "up", "-d")
    with serving(roots, "--project", "mine", "--socket", f"{roots.run}/mine.sock") as found:
        yield found
        for record in found.get("/containers/json?all=1"):
            found.raw("DELETE", f"/containers/{record['Id']}?force=1&v=1")
    composer("-p", "mine", "down", "-v")


def filled(path, container):
    return re.sub(r"\{(\w+)(:path)?\}", lambda m: container if m[1] == "id" else "busybox", path)


def test_a_read_only_server_answers_what_reads(reading, container):
    assert [record["Id"] for record in reading.get("/containers/json")] == [container]
    assert reading.get(f"/containers/{container}/json")["State"]["Running"]
    assert reading.raw("GET", f"/containers/{container}/logs?stdout=1")[0] == 200
    assert reading.raw("HEAD", "/_ping")[0] == 200


ALL_BUT_READS = [
    (method, path) for method, path, target in ROUTES if target not in READS or method not in ("GET", "HEAD")
]


def test_a_read_only_server_refuses_all_else(reading):
    assert len(ALL_BUT_READS) > 60
    for method, path in ALL_BUT_READS:
        body = {} if method in ("POST", "PUT") else None
        status, _, content = reading.raw(method, filled(path, "0" * 64), body)
        assert status == 403, (method, path)
        assert method == "HEAD" or "read-only" in json.loads(content)["message"]


def test_a_read_only_server_upgrades_no_connection(reading, container):
    """Neither an upgrade nor another version in the path bypasses it."""
    with reading.connect() as sock:
        for path in (f"/v1.24/containers/{container}/attach?stream=1&stdin=1", "/v1.44/session", "/grpc"):
            sock.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
            assert sock.recv(4096).startswith(b"HTTP/1.1 403 ")


def test_only_the_projects_objects_exist(narrow, container):
    (record,) = narrow.get("/containers/json?all=1")
    assert record["Names"] == ["/mine-web-1"]
    assert narrow.refused("GET", f"/containers/{container}/json")[0] == 404
    assert narrow.refused("GET", "/containers/api-foreign/logs?stdout=1")[0] == 404
    for method, action in (
        ("POST", "stop"),
        ("POST", "kill"),
        ("POST", "exec"),
        ("POST", "update"),
        ("GET", "archive?path=/"),
    ):
        assert narrow.refused(method, f"/containers/{container}/{action}", {"Cmd": ["true"]})[0] == 404
    assert narrow.refused("DELETE", f"/containers/{container}?force=1")[0] == 404
    assert {one["Name"] for one in narrow.get("/networks")} == {"mine_default", "host", "none"}
    assert [one["Name"] for one in narrow.get("/volumes")["Volumes"]] == ["mine_data"]
    assert narrow.get("/info")["Containers"] == 1
    since = narrow.get("/events?since=1&until=1")
    assert since is None or container not in json.dumps(since)


def test_foreign_processes_are_not_listed_as_the_containers(narrow, reading):
    """Columns can be renamed, and columns with spaces or without a title shift others under PID."""
    for api in (narrow, reading):
        name = api.get("/containers/json")[0]["Names"][0]
        for arguments in (
            "-eo rss=PID,args",
            "-eo rss=PID -o args",
            "-e -o rss= -o pid",
            "-eo lstart,rss,uid,uid,uid,pid",
        ):
            query = urllib.parse.quote(arguments)
            assert api.refused("GET", f"/containers{name}/top?ps_args={query}")[0] == 403
        for arguments in ("", "-ef", "aux"):
            rows = api.get(f"/containers{name}/top?ps_args={arguments}")["Processes"]
            assert [row[-1] for row in rows] == ["sleep 1000"]


def test_prune_is_limited_to_the_project(narrow, api, container):
    api("POST", "/volumes/create", {"Name": "foreign-volume"})
    api("POST", f"/containers/{container}/stop?t=0")
    try:
        for kind in ("containers", "volumes", "networks"):
            narrow("POST", f"/{kind}/prune?filters=" + '{"all":["true"]}' * (kind == "volumes"), {})
        assert api.get("/volumes/foreign-volume")["Name"] == "foreign-volume"
        assert api.get(f"/containers/{container}/json")["State"]["Status"] == "exited"
    finally:
        api.raw("DELETE", "/volumes/foreign-volume")


ESCAPES = {
    "bind": {"HostConfig": {"Binds": ["/:/host"]}},
    "bind-mount": {"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/host"}]}},
    "foreign-volume": {"HostConfig": {"Binds": ["foreign:/data"]}},
    "new-volume-of-a-name": {"HostConfig": {"Mounts": [{"Type": "volume", "Source": "guessed", "Target": "/data"}]}},
    "volumes-from": {"HostConfig": {"VolumesFrom": ["api-foreign"]}},
    "privileged": {"HostConfig": {"Privileged": True}},
    "capability": {"HostConfig": {"CapAdd": ["SYS_ADMIN"]}},
    "all-capabilities": {"HostConfig": {"CapAdd": "ALL"}},
    "device": {"HostConfig": {"Devices": [{"PathOnHost": "/dev/mem", "PathInContainer": "/dev/mem"}]}},
    "device-rule": {"HostConfig": {"DeviceCgroupRules": ["a *:* rwm"]}},
    "device-request": {"HostConfig": {"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["vendor.com/x=y"]}]}},
    "host-network": {"HostConfig": {"NetworkMode": "host"}},
    "host-pid": {"HostConfig": {"PidMode": "host"}},
    "host-ipc": {"HostConfig": {"IpcMode": "host"}},
    "host-uts": {"HostConfig": {"UTSMode": "host"}},
    "host-user": {"HostConfig": {"UsernsMode": "host"}},
    "host-cgroup": {"HostConfig": {"CgroupnsMode": "host"}},
    "foreign-network-namespace": {"HostConfig": {"NetworkMode": "container:api-foreign"}},
    "foreign-pid-namespace": {"HostConfig": {"PidMode": "container:api-foreign"}},
    "foreign-ipc-namespace": {"HostConfig": {"IpcMode": "container:api-foreign"}},
    "default-bridge": {"HostConfig": {"NetworkMode": "bridge"}},
    "default-network": {"HostConfig": {"NetworkMode": "default"}},
    "second-network": {"NetworkingConfig": {"EndpointsConfig": {"bridge": {}}}},
    "seccomp": {"HostConfig": {"SecurityOpt": ["seccomp=unconfined"]}},
    "apparmor": {"HostConfig": {"SecurityOpt": ["apparmor=unconfined"]}},
    "system-paths": {"HostConfig": {"SecurityOpt": ["systempaths=unconfined"]}},
    "cgroup-parent": {"HostConfig": {"CgroupParent": "/"}},
    "sysctl": {"HostConfig": {"Sysctls": {"kernel.shm_rmid_forced": "1"}}},
    "log-socket": {"HostConfig": {"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "unix:///dev/log"}}}},
    "oom": {"HostConfig": {"OomKillDisable": True}},
    "oom-score": {"HostConfig": {"OomScoreAdj": -1000}},
    "link": {"HostConfig": {"Links": ["api-foreign:x"]}},
    "another-project": {"Labels": {"com.docker.compose.project": "other"}},
}


def test_containers_cannot_reach_other_projects(narrow):
    for name, way in ESCAPES.items():
        asked = {"Image": "busybox", "Cmd": ["true"], **way}
        asked["HostConfig"] = {"NetworkMode": "mine_default", **asked.get("HostConfig", {})}
        status, message = narrow.refused("POST", "/containers/create?name=escape", asked)
        assert status == 403 and "this server is restricted to project mine" in message, name
    assert len(narrow.get("/containers/json?all=1")) == 1


def test_further_escapes_are_refused(narrow, container):
    volume = {"Name": "way-out", "DriverOpts": {"type": "none", "o": "bind", "device": "/"}}
    assert narrow.refused("POST", "/volumes/create", volume)[0] == 403
    network = {"Name": "way-out", "Options": {"com.docker.network.bridge.name": "docker0"}}
    assert narrow.refused("POST", "/networks/create", network)[0] == 403
    assert narrow.refused("POST", "/networks/create", {"Name": "way-out", "Driver": "macvlan"})[0] == 403
    assert narrow.refused("POST", "/networks/create", {"Name": "composer-build"})[0] == 403
    taken = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "mine_default"}}
    status, message = narrow.refused("POST", "/containers/create?name=api-foreign", taken)
    assert status == 409 and container[:12] not in message
    assert narrow.refused("POST", "/networks/bridge/connect", {"Container": "mine-web-1"})[0] in (403, 404)
    assert narrow.refused("POST", "/containers/mine-web-1/exec", {"Cmd": ["true"], "Privileged": True})[0] == 403
    assert narrow.refused("POST", "/containers/mine-web-1/update", {"CpuRealtimeRuntime": 1000})[0] in (400, 403)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("Dockerfile"))
    for path in (
        "/build",
        "/commit?container=mine-web-1",
        "/images/create?fromImage=busybox",
        "/images/load",
        "/session",
        "/grpc",
    ):
        assert narrow.refused("POST", path, {})[0] == 403


def test_project_is_fully_accessible(narrow):
    """A container, a volume and a network of the project are created, used and removed, whatever labels were sent."""
    volume = narrow("POST", "/volumes/create", {"Name": "mine_more"})
    network = narrow("POST", "/networks/create", {"Name": "mine_back"})
    asked = {
        "Image": "busybox",
        "Cmd": ["sleep", "1000"],
        "HostConfig": {"NetworkMode": "mine_back", "Binds": ["mine_more:/m"]},
    }
    made = narrow("POST", "/containers/create?name=mine-other", asked)["Id"]
    narrow("POST", f"/containers/{made}/start")
    labels = narrow.get(f"/containers/{made}/json")["Config"]["Labels"]
    assert labels["com.docker.compose.project"] == "mine"
    narrow("POST", f"/networks/{network['Id']}/disconnect", {"Container": made})
    narrow("DELETE", f"/containers/{made}?force=1")
    narrow("DELETE", f"/networks/{network['Id']}")
    narrow("DELETE", f"/volumes/{volume['Name']}")


def test_allowed_operations_exist():
    assert READS | OWN <= {target for _, _, target in ROUTES}


@pytest.mark.skipif(os.geteuid() != 0, reason="another user connects")
def test_peers_are_logged_and_others_refused(roots):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        path = f"{folder}/peers.sock"
        process = subprocess.Popen(
            [sys.executable, "-m", "composer", "serve", "--socket", path],
            env={**os.environ, **roots.environment()}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            process.stderr.readline()
            os.chmod(path, 0o666)
            assert connected_as(0, path).startswith(b"HTTP/1.1 200")
            assert re.match(r"admitted: process \d+ of user 0, group 0\n", process.stderr.readline())
            assert connected_as(65534, path) == b""
            assert re.match(r"refused: process \d+ of user 65534, group 65534\n", process.stderr.readline())
        finally:
            process.terminate()
            process.wait()
            process.stderr.close()


def connected_as(user, path):
    """The server's answer to a process of this user; empty if it refuses."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
            os.write(writing, sock.recv(100))
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        answer = file.read()
    os.waitpid(child, 0)
    return answer


def test_malformed_credentials_are_a_bad_request(api):
    for text in ("%%%", base64.urlsafe_b64encode(b"{").decode(), base64.urlsafe_b64encode(b"[1]").decode()):
        connection = api.raw(
            "POST", "/images/create?fromImage=localhost:1/x&tag=1", {}, headers={"X-Registry-Auth": text}
        )
        assert connection[0] == 400


def test_a_container_named_like_a_mode_does_not_open_it(narrow):
    """The name `host` is free, and modes may name containers of the project."""
    plain = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "mine_default"}}
    narrow("POST", "/containers/create?name=host", plain)
    for mode in ("PidMode", "IpcMode", "UTSMode", "UsernsMode", "CgroupnsMode", "NetworkMode"):
        asked = {**plain, "HostConfig": {**plain["HostConfig"], mode: "host"}}
        assert narrow.refused("POST", "/containers/create?name=escape", asked)[0] == 403, mode
    joined = {**plain, "HostConfig": {**plain["HostConfig"], "PidMode": "container:host"}}
    narrow("POST", "/containers/create?name=mine-joined", joined)


@pytest.mark.parametrize(
    "endpoint",
    [
        {"DriverOpts": {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.route_localnet=1"}},
        {"Links": ["api-foreign:x"]},
    ],
    ids=lambda endpoint: next(iter(endpoint)),
)
def test_attachments_are_restricted_too(narrow, endpoint):
    asked = {"Image": "busybox", "NetworkingConfig": {"EndpointsConfig": {"mine_default": endpoint}}}
    asked["HostConfig"] = {"NetworkMode": "mine_default"}
    assert narrow.refused("POST", "/containers/create?name=escape", asked)[0] == 403
    narrow("POST", "/networks/create", {"Name": "mine_other"})
    joining = {"Container": "mine-web-1", "EndpointConfig": endpoint}
    assert narrow.refused("POST", "/networks/mine_other/connect", joining)[0] == 403
    narrow("DELETE", "/networks/mine_other")
