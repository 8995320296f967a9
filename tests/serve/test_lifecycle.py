"""Containers created, run and removed by a client of the Docker API."""

import json
import re
import threading

import pytest


@pytest.fixture
def make(api):
    """Create a container; all are removed at the end, with the process that monitors them."""
    made = []

    def create(*command, name="", **body):
        host = {"NetworkMode": "none", **body.pop("HostConfig", {})}
        found = api(
            "POST", f"/containers/create?name={name}", {"Image": "busybox", "Cmd": command, "HostConfig": host, **body}
        )
        made.append(found["Id"])
        return found["Id"]

    yield create
    for container in made:
        api.raw("DELETE", f"/containers/{container}?force=1&v=1")


def test_create_to_remove(api, make):
    one = make("sh", "-c", "echo hello; exit 4", name="api-one", Labels={"a": "b"}, Env=["X=y"])
    assert api.get(f"/containers/{one}/json")["State"]["Status"] == "created"
    codes = []
    waiting = threading.Thread(
        target=lambda: codes.append(api("POST", "/containers/api-one/wait?condition=next-exit")["StatusCode"])
    )
    waiting.start()
    assert api.raw("POST", "/containers/api-one/start")[0] == 204
    waiting.join(30)
    assert codes == [4]
    found = api.get("/containers/api-one/json")
    assert (found["State"]["Status"], found["State"]["ExitCode"]) == ("exited", 4)
    assert found["Config"]["Env"][0] == "X=y"
    _, headers, content = api.raw("GET", "/containers/api-one/logs?stdout=1&stderr=1")
    assert headers["Content-Type"] == "application/vnd.docker.multiplexed-stream"
    assert content == b"\x01\0\0\0\0\0\0\x06hello\n"
    assert api.refused("GET", "/containers/api-one/logs")[0] == 400
    assert api.raw("DELETE", "/containers/api-one")[0] == 204
    assert api.refused("GET", "/containers/api-one/json")[0] == 404


def test_a_running_container(api, make):
    make("sleep", "1000", name="api-two")
    api.raw("POST", "/containers/api-two/start")
    assert api.raw("POST", "/containers/api-two/start")[0] == 304
    assert api.refused("DELETE", "/containers/api-two")[0] == 409
    assert api.raw("POST", "/containers/api-two/pause")[0] == 204
    assert api.get("/containers/api-two/json")["State"]["Paused"]
    assert api.refused("POST", "/containers/api-two/start")[0] == 409
    assert api.raw("POST", "/containers/api-two/unpause")[0] == 204
    before = api.get("/containers/api-two/json")["State"]["Pid"]
    assert api.raw("POST", "/containers/api-two/restart?t=0")[0] == 204
    assert api.get("/containers/api-two/json")["State"]["Pid"] not in (0, before)
    assert api.raw("POST", "/containers/api-two/rename?name=api-three")[0] == 204
    assert api.raw("POST", "/containers/api-three/kill?signal=KILL")[0] == 204
    assert api("POST", "/containers/api-three/wait")["StatusCode"] == 137
    assert api.raw("POST", "/containers/api-three/stop")[0] == 304
    assert api.refused("POST", "/containers/api-three/kill")[0] == 409


def test_a_log_is_followed_to_the_end(api, make):
    make("sh", "-c", "echo first; read x < /fifo; echo last", name="api-log", Tty=True)
    make("true", name="api-none")
    connection = api.connect()
    api.raw("POST", "/containers/api-log/start")
    connection.sendall(b"GET /containers/api-log/logs?stdout=1&follow=1 HTTP/1.0\r\n\r\n")
    read = connection.makefile("rb").read()
    assert b"application/vnd.docker.raw-stream" in read
    assert re.search(rb"first\r?\n.*can't open /fifo.*last\r?\n\Z", read, re.DOTALL)


def test_a_followed_log_ends_with_the_run_even_if_the_container_is_restarted(api, make):
    make(
        "sh",
        "-c",
        "mkfifo /fifo; echo run; read x < /fifo; exit 1",
        name="api-again",
        HostConfig={"RestartPolicy": {"Name": "always"}},
    )
    connection = api.connect()
    api.raw("POST", "/containers/api-again/start")
    connection.sendall(b"GET /containers/api-again/logs?stdout=1&follow=1 HTTP/1.0\r\n\r\n")
    stream = connection.makefile("rb")
    while b"run" not in stream.readline():
        pass
    exec_ = api("POST", "/containers/api-again/exec", {"Cmd": ["sh", "-c", "echo > /fifo"]})["Id"]
    api.raw("POST", f"/exec/{exec_}/start", {"Detach": True})
    assert b"run" not in stream.read()


REFUSED = [
    ({}, 400, "config cannot be empty in order to create a container"),
    ({"Image": "nosuch/x"}, 404, "No such image: nosuch/x:latest"),
    ({"Image": "busybox", "HostConfig": {"Memory": "much"}}, 400, "invalid JSON"),
    ({"Image": "busybox", "HostConfig": {"Memory": 1024}}, 400, "Minimum memory limit allowed is 6MB"),
    ({"Image": "busybox", "HostConfig": {"RestartPolicy": {"Name": "nosuch"}}}, 400, "unknown policy 'nosuch'"),
    ({"Image": "busybox", "HostConfig": {"Binds": ["relative"]}}, 400, "mount path must be absolute"),
    ({"Image": "busybox", "HostConfig": {"Binds": ["/a:/b:nosuch"]}}, 400, "invalid mode: nosuch"),
    (
        {"Image": "busybox", "HostConfig": {"Mounts": [{"Type": "nosuch", "Target": "/a"}]}},
        400,
        '"nosuch": mount type unknown',
    ),
    ({"Image": "busybox", "HostConfig": {"CpuCount": 3}}, 400, "HostConfig.CpuCount"),
    ({"Image": "busybox", "HostConfig": {"PortBindings": {"x/tcp": None}}}, 400, "invalid port specification"),
    ({"Image": "busybox", "Healthcheck": {"Interval": 5}}, 400, "cannot be less than 1ms"),
    ({"Image": "busybox", "WorkingDir": "rel"}, 400, "the working directory 'rel' is invalid"),
    ({"Image": "busybox", "StopSignal": "NOSUCH"}, 400, "invalid signal: NOSUCH"),
    ({"Image": "busybox", "HostConfig": {"CapAdd": ["X"]}}, 400, 'invalid CapAdd: unknown capability: "CAP_X"'),
    ({"Image": "busybox", "HostConfig": {"CapDrop": ["CAP_X"]}}, 400, 'invalid CapDrop: unknown capability: "CAP_X"'),
    ({"Image": "busybox", "HostConfig": {"SecurityOpt": ["x=1"]}}, 400, 'invalid --security-opt 2: "x=1"'),
    ({"Image": "busybox", "HostConfig": {"Tmpfs": {"/t": "nosuch"}}}, 400, 'invalid tmpfs option "nosuch"'),
    ([], 400, "invalid JSON"),
]


def test_wrong_containers_are_refused_and_nothing_is_left(api):
    for body, status, said in REFUSED:
        found, message = api.refused("POST", "/containers/create?name=api-no", body)
        assert (found, said in message) == (status, True), (body, message)
    assert api.refused("POST", "/containers/create?name=a%20b", {"Image": "busybox"})[0] == 400
    assert api.get("/containers/json?all=1") == []


def test_duplicate_name_conflicts(api, make):
    one = make("true", name="api-taken")
    status, message = api.refused("POST", "/containers/create?name=api-taken", {"Image": "busybox"})
    assert status == 409 and message.startswith(
        f'Conflict. The container name "/api-taken" is already in use by container "{one}"'
    )


def test_unknown_fields_are_warned_of(api, make):
    found = api("POST", "/containers/create?name=api-odd", {"Image": "busybox", "Nosuch": 1})
    api.raw("DELETE", "/containers/api-odd")
    assert found["Warnings"] == ["Nosuch is not known and was ignored"]


def test_a_container_that_removes_itself(api, make):
    one = make("sh", "-c", "exit 7", HostConfig={"AutoRemove": True})
    waiting = api.connect()  # the headers arrive once the wait is registered: later exits are not missed
    waiting.sendall(f"POST /containers/{one}/wait?condition=removed HTTP/1.0\r\n\r\n".encode())
    answer = waiting.makefile("rb")
    while answer.readline().strip():
        pass
    api.raw("POST", f"/containers/{one}/start")
    assert json.loads(answer.read()) == {"StatusCode": 7}
    assert api.refused("GET", f"/containers/{one}/json")[0] == 404


def test_volumes_and_networks(api):
    made = api("POST", "/volumes/create", {"Name": "api-v", "Labels": {"a": "b"}})
    assert made == api("POST", "/volumes/create", {"Name": "api-v"})
    assert api.refused("POST", "/volumes/create", {"Name": "x", "Driver": "nosuch"})[0] == 404
    assert api.raw("DELETE", "/volumes/api-v")[0] == 204
    anonymous = api("POST", "/volumes/create", {})["Name"]
    mounted = api("POST", "/volumes/create", {"DriverOpts": {"type": "tmpfs", "device": "tmpfs"}})["Name"]
    assert api("POST", "/volumes/prune")["VolumesDeleted"] == [anonymous]
    assert api.raw("DELETE", f"/volumes/{mounted}")[0] == 204
    body = {
        "Name": "api-n",
        "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.99.0.0/24"}]},
        "Labels": {"c": "d"},
    }
    found = api("POST", "/networks/create", body)
    ipam = api.get(f"/networks/{found['Id']}")["IPAM"]
    assert ipam["Config"][0]["Subnet"] == "10.99.0.0/24" and ipam["Options"] is None
    assert api.refused("POST", "/networks/create", {"Name": "api-n"}) == (409, "network with name api-n already exists")
    assert api.refused("POST", "/networks/create", {}) == (400, "invalid name: name is empty")
    assert api.refused("DELETE", "/networks/host")[0] == 403
    assert api.raw("DELETE", "/networks/api-n")[0] == 204


def test_tags(api):
    image = api.get("/images/busybox/json")["Id"]
    assert api.raw("POST", "/images/busybox/tag?repo=api/other&tag=2")[0] == 201
    assert api.get("/images/api/other:2/json")["Id"] == image
    assert api.refused("DELETE", f"/images/{image}")[0] == 409
    assert api("DELETE", "/images/api/other:2") == [{"Untagged": "api/other:2"}]
    assert json.dumps(api.get("/system/df")["Images"]).count(image) == 1
    assert api.refused("GET", "/swarm")[0] == 503


def test_stats(api, make):
    one = make("sleep", "1000", name="api-stats")
    assert api.get(f"/containers/{one}/stats?stream=0")["memory_stats"] == {}
    api.raw("POST", "/containers/api-stats/start")
    found = api.get("/containers/api-stats/stats?stream=0")
    assert found["name"] == "/api-stats"
    assert found["pids_stats"] == {"current": 1}
    assert found["precpu_stats"]["system_cpu_usage"] < found["cpu_stats"]["system_cpu_usage"]
    assert 0 < found["cpu_stats"]["cpu_usage"]["total_usage"] < found["cpu_stats"]["system_cpu_usage"]
    assert 0 < found["memory_stats"]["usage"] < found["memory_stats"]["limit"]
    assert "system_cpu_usage" not in api.get("/containers/api-stats/stats?stream=0&one-shot=1")["precpu_stats"]
    connection = api.connect()
    connection.sendall(b"GET /containers/api-stats/stats HTTP/1.0\r\n\r\n")
    lines = connection.makefile("rb")
    while lines.readline().strip():
        pass
    samples = [json.loads(lines.readline()) for _ in range(2)]
    assert samples[1]["precpu_stats"] == samples[0]["cpu_stats"]


def test_the_terminal_has_its_size_when_the_program_starts(api, make):
    one = make("stty", "size", Tty=True, OpenStdin=True, HostConfig={"ConsoleSize": [33, 77]})
    api.raw("POST", f"/containers/{one}/start")
    api("POST", f"/containers/{one}/wait")
    assert api.raw("GET", f"/containers/{one}/logs?stdout=1")[2] == b"33 77\r\n"
    assert api.get(f"/containers/{one}/json")["HostConfig"]["ConsoleSize"] == [33, 77]


@pytest.mark.parametrize(
    ("command", "more", "status", "words"),
    [
        (["/nosuch"], {}, 400, 'exec: "/nosuch": stat /nosuch: no such file or directory'),
        (["nosuch"], {}, 400, 'exec: "nosuch": executable file not found in $PATH'),
        (["/etc/passwd"], {}, 400, 'exec: "/etc/passwd": permission denied'),
        (["true"], {"WorkingDir": "/etc/passwd"}, 500, "Cannot mkdir: /etc/passwd is not a directory"),
        (["true"], {"User": "nobody2"}, 500, "unable to find user nobody2: no matching entries in passwd file"),
    ],
)
def test_failed_start_ends_waiting_clients(api, make, command, more, status, words):
    one = make(*command, HostConfig={"AutoRemove": True}, **more)
    with api.connect() as waiting:
        waiting.sendall(
            f"POST /containers/{one}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
        )
        assert waiting.recv(1000).startswith(b"HTTP/1.1 101 UPGRADED")
        assert api.refused("POST", f"/containers/{one}/start") == (status, words)
        assert waiting.recv(1000) == b""
    assert api.refused("GET", f"/containers/{one}/json")[0] == 404


def test_host_configuration_round_trip(api, make):
    asked = {
        "Binds": ["/tmp:/a:ro"], "Tmpfs": {"/b": "size=1m"}, "PublishAllPorts": True, "AutoRemove": True, "Links": [],
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "NetworkMode": "none",
    }  # fmt: skip
    found = api.get(f"/containers/{make('true', HostConfig=asked)}/json")
    assert {key: found["HostConfig"][key] for key in asked} == {**asked, "Links": None}
    assert [mount["Destination"] for mount in found["Mounts"]] == ["/a"]


def test_a_container_without_a_name_gets_two_words(api, make):
    assert re.fullmatch(r"/[a-z]+_[a-z]+\d*", api.get(f"/containers/{make('true')}/json")["Name"])


def test_links_of_the_default_bridge_give_variables(api):
    first = {
        "Image": "busybox",
        "Cmd": ["sleep", "100"],
        "Env": ["FOO=1"],
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
    }
    one = api("POST", "/containers/create?name=linked", first)["Id"]
    api("POST", f"/containers/{one}/start")
    address = api.get(f"/containers/{one}/json")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    second = {
        "Image": "busybox",
        "Cmd": ["env"],
        "Env": ["DB_NAME=own"],
        "HostConfig": {"Links": ["linked:d-b", "linked:db"]},
    }
    two = api("POST", "/containers/create?name=linking", second)["Id"]
    api("POST", f"/containers/{two}/start")
    api("POST", f"/containers/{two}/wait")
    said = api.raw("GET", f"/containers/{two}/logs?stdout=1")[2].decode(errors="replace")
    for name in (one, two):
        api("DELETE", f"/containers/{name}?force=1")
    for line in (
        f"D_B_PORT=tcp://{address}:80", f"D_B_PORT_80_TCP_ADDR={address}", "D_B_PORT_53_UDP_PROTO=udp",
        "D_B_NAME=/linking/d-b", "D_B_ENV_FOO=1", "DB_NAME=own", f"DB_PORT=tcp://{address}:80",
    ):  # fmt: skip
        assert f"{line}\n" in said, said


def test_a_wait_for_the_removal_of_a_running_container(api):
    body = {"Image": "busybox", "Cmd": ["sleep", "100"], "HostConfig": {"NetworkMode": "none"}}
    one = api("POST", "/containers/create", body)["Id"]
    api("POST", f"/containers/{one}/start")
    with api.connect() as sock:
        sock.sendall(f"POST /containers/{one}/wait?condition=removed HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        said = sock.recv(65536)
        assert said.startswith(b"HTTP/1.1 200 ")
        api("DELETE", f"/containers/{one}?force=1")
        while b"}" not in said:
            said += sock.recv(65536)
    assert b'{"StatusCode":137}' in said


def test_a_joined_container_is_kept_by_its_id(api, make):
    one = make("sleep", "100", name="api-joined", HostConfig={"IpcMode": "shareable"})
    joining = {
        "IpcMode": "container:api-joined",
        "PidMode": f"container:{one[:12]}",
        "NetworkMode": "container:api-joined",
    }
    make("sleep", "100", name="api-joining", HostConfig=joining)
    api.raw("POST", "/containers/api-joined/rename?name=api-renamed")
    host = api.get("/containers/api-joining/json")["HostConfig"]
    assert {host[mode] for mode in joining} == {f"container:{one}"}
    for name in ("api-renamed", "api-joining"):
        assert api.raw("POST", f"/containers/{name}/start")[0] == 204


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("kill?signal=%C2%B2", 400),
        (f"kill?signal={'9' * 5000}", 400),
        ("kill?signal=RTMIN%2Bx", 400),
        (f"stop?t={'9' * 400}", 400),
        ("stop?t=%C2%B2", 400),
    ],
)
def test_numbers_that_are_none_are_refused(api, make, path, status):
    make("sleep", "1000", name="api-numbers")
    api("POST", "/containers/api-numbers/start")
    assert api.raw("POST", f"/containers/api-numbers/{path}")[0] == status


def test_odd_ports_do_not_break_listings(api, make):
    """Docker accepts any text as exposed port."""
    ports = ("²/tcp", "any", f"{'9' * 5000}/tcp", "80/tcp")
    make("sleep", "1000", name="api-odd-ports", ExposedPorts={port: {} for port in ports})
    api("POST", "/containers/api-odd-ports/start")
    (record,) = api.get("/containers/json")
    assert [port["PrivatePort"] for port in record["Ports"]] == [80]
    api.get("/containers/json?filters=" + '{"expose":["80"]}')
    api.get("/containers/api-odd-ports/json")
    asked = {"Image": "busybox", "HostConfig": {"PortBindings": {"²/tcp": [{"HostPort": "1"}]}}}
    assert api.refused("POST", "/containers/create", asked)[0] == 400


def test_times_without_bounds_are_refused(api, make):
    make("true", name="api-times")
    for query in ("since=inf", f"since={'9' * 400}", "until=nan", f"since={'9' * 400}h"):
        assert api.raw("GET", f"/containers/api-times/logs?stdout=1&{query}")[0] == 400
        assert api.raw("GET", f"/events?{query}")[0] == 400
    assert api.raw("GET", f"/containers/api-times/logs?stdout=1&tail={'9' * 5000}")[0] == 200


def test_links_are_not_removed(api, make):
    """A link ends with its container."""
    make("sleep", "1000", name="api-target", HostConfig={"NetworkMode": "bridge"})
    make("true", name="api-linked", HostConfig={"NetworkMode": "bridge", "Links": ["api-target:there"]})
    for path, status in (("api-linked/there", 400), ("api-linked/nosuch", 404), ("nosuch/x", 404), ("api-linked", 409)):
        assert api.raw("DELETE", f"/containers/{path}?link=1")[0] == status, path
    assert len(api.get("/containers/json?all=1")) == 2
