"""Events, as a client of the Docker API sees them."""

import json
import time
import urllib.parse


def history(api, since, **filters):
    query = urllib.parse.quote(json.dumps({name: [value] for name, value in filters.items()}))
    _, headers, content = api.raw("GET", f"/events?since={since}&until={time.time()}&filters={query}")
    assert headers["Content-Type"] == "application/json"
    return [json.loads(line) for line in content.splitlines()]


def test_the_life_of_a_container(api):
    since = time.time()
    body = {"Image": "busybox", "Cmd": ["sleep", "100"], "Labels": {"l": "1"}, "HostConfig": {"NetworkMode": "none"}}
    one = api("POST", "/containers/create?name=seen", body)["Id"]
    for path in ("start", "pause", "unpause", "rename?name=watched", "kill?signal=KILL", "wait"):
        name = "watched" if path in ("kill?signal=KILL", "wait") else "seen"
        assert api.raw("POST", f"/containers/{name}/{path}")[0] < 300
    api.raw("DELETE", f"/containers/{one}")
    found = history(api, since, container=one)
    assert [event["Action"] for event in found] == [
        "create", "start", "pause", "unpause", "rename", "kill", "die", "destroy"
    ]  # fmt: skip
    die = found[-2]
    assert (die["status"], die["id"], die["from"], die["Type"], die["scope"]) == (
        "die",
        one,
        "busybox",
        "container",
        "local",
    )
    attributes = die["Actor"]["Attributes"]
    assert (attributes["exitCode"], attributes["name"], attributes["l"]) == ("137", "watched", "1")
    assert found[4]["Actor"]["Attributes"]["oldName"] == "/seen"
    assert found[5]["Actor"]["Attributes"]["signal"] == "9"
    assert history(api, since, container=one, event="nothing") == []
    assert len(history(api, since, label="l=1", type="container")) == len(found)


def test_networks_and_volumes_of_a_container_that_is_stopped(api):
    since = time.time()
    body = {
        "Image": "busybox",
        "Cmd": ["sh", "-c", "trap 'exit 0' INT; while :; do sleep 0.1; done"],
        "StopSignal": "SIGINT",
        "HostConfig": {"NetworkMode": "seen-net", "Binds": ["seen-data:/data:ro"]},
    }
    api("POST", "/networks/create", {"Name": "seen-net"})
    one = api("POST", "/containers/create?name=seen-too", body)["Id"]
    for path in ("start", "top", "stop", "start", "restart?t=0"):
        assert api.raw("GET" if path == "top" else "POST", f"/containers/{one}/{path}")[0] < 300
    api.raw("DELETE", f"/containers/{one}?force=1")
    for path in ("/networks/seen-net", "/volumes/seen-data"):
        api.raw("DELETE", path)
    begun = ["volume mount", "network connect", "container start"]
    ended = ["network disconnect", "volume unmount", "container stop", "container die"]
    found = history(api, since)
    assert sorted(f"{event['Type']} {event['Action']}" for event in found[:3]) == [
        "container create", "network create", "volume create"
    ]  # fmt: skip
    assert [f"{event['Type']} {event['Action']}" for event in found[3:-2]] == [
        *begun, "container top", "container kill", *ended, *begun, "container kill", "container kill", *ended, *begun,
        "container restart", "container kill", *ended[:2], ended[3], "container destroy",
    ]  # fmt: skip
    assert found[3]["Actor"] == {
        "ID": "seen-data",
        "Attributes": {
            "container": one, "destination": "/data", "driver": "local", "propagation": "", "read/write": "false",
        },
    }  # fmt: skip
    signals = [event["Actor"]["Attributes"]["signal"] for event in found if event["Action"] == "kill"]
    assert signals == ["2", "2", "9", "9"]


def test_events_begin_with_headers_and_come_at_once(api):
    with api.connect() as sock:
        sock.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 OK")
        api("POST", "/volumes/create", {"Name": "seen-volume"})
        text = sock.recv(4096).decode()
        assert '"Type":"volume","Action":"create","Actor":{"ID":"seen-volume"' in text
        api.raw("DELETE", "/volumes/seen-volume")
        assert '"Action":"destroy"' in sock.recv(4096).decode()


def test_invalid_time(api):
    assert api.refused("GET", "/events?since=nonsense") == (
        400, 'failed to parse value as time or duration: "nonsense"'
    )  # fmt: skip


def test_health_checks_are_processes_in_the_container(api):
    since = time.time()
    check = {"Test": ["CMD-SHELL", "echo fine; exit 0"], "Interval": 200_000_000}
    body = {"Image": "busybox", "Cmd": ["sleep", "100"], "Healthcheck": check, "HostConfig": {"NetworkMode": "none"}}
    one = api("POST", "/containers/create?name=checked", body)["Id"]
    api("POST", f"/containers/{one}/start")
    found = []
    while [event["Action"] for event in found].count("exec_die") < 2:
        found = history(api, since, container=one)
    api("DELETE", f"/containers/{one}?force=1")
    actions = [event["Action"] for event in found]
    begin = actions.index("exec_create: /bin/sh -c echo fine; exit 0")
    assert actions[begin + 1 : begin + 4] == [
        "exec_start: /bin/sh -c echo fine; exit 0",
        "exec_die",
        "health_status: healthy",
    ]
    told = [event["Actor"]["Attributes"] for event in found[begin : begin + 3]]
    assert len({one["execID"] for one in told}) == 1 and told[2]["exitCode"] == "0"


def test_commit_pauses_the_container(api):
    body = {"Image": "busybox", "Cmd": ["sleep", "100"], "HostConfig": {"NetworkMode": "none"}}
    one = api("POST", "/containers/create?name=kept", body)["Id"]
    api("POST", f"/containers/{one}/start")
    since = time.time()
    api("POST", "/commit?container=kept&repo=made/kept&tag=1")
    api("POST", "/commit?container=kept&repo=made/kept&tag=2&pause=0")
    found = history(api, since, container=one)
    api("DELETE", f"/containers/{one}?force=1")
    assert [event["Action"] for event in found] == ["pause", "commit", "unpause", "commit"]


def test_the_exit_of_a_container_that_removes_itself_is_not_a_kill(api):
    """Its exit is reported only after its output has been sent, when the container no longer exists."""
    since = time.time()
    host = {"NetworkMode": "none", "AutoRemove": True, "LogConfig": {"Type": "none"}}
    body = {"Image": "busybox", "Cmd": ["sh", "-c", "head -c 2000000 /dev/zero; exit 3"], "HostConfig": host}
    one = api("POST", "/containers/create?name=brief", body)["Id"]
    with api.connect() as sock:
        sock.sendall(f"POST /containers/{one}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert sock.recv(10).startswith(b"HTTP/1.1 2")
        api("POST", f"/containers/{one}/start")
        while api.raw("GET", f"/containers/{one}/json")[0] == 200:
            sock.recv(1 << 16)
        while sock.recv(1 << 20):
            pass
    found = []
    while "destroy" not in [event["Action"] for event in found]:
        found = history(api, since, container=one)
    assert "kill" not in [event["Action"] for event in found]
    assert [event["Actor"]["Attributes"]["exitCode"] for event in found if event["Action"] == "die"] == ["3"]
