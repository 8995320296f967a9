"""Services that an external program provides."""

import http.server
import io
import json
import os
import signal
import sys
import tarfile
import threading

import pytest

CLOUD = r"""#!/bin/sh
cd "$(dirname "$0")"
echo "$@" >> notes
[ "$2" = metadata ] && { cat metadata.json; exit 0; }
case " $* " in
  *" --kind=broken "*) echo '{"type": "error", "message": "no cloud today"}'; exit 1;;
  *" --kind=odd "*) echo 'hello'; exit 0;;
  *" --kind=strange "*) echo '{"type": "sing", "message": "la"}'; read x; exit 0;;
  *" --kind=wrong "*) echo '{"type": "publish-endpoint", "message": "80=nowhere"}'; read x; exit 0;;
  *" --kind=early "*) echo '{"type": "get-image", "message": "busybox"}'; read x; exit 0;;
  *" up --kind=relay "*) echo '{"type": "get-relay-info"}'; read answer; echo "$answer" > answer
            gateway=$(sed 's/.*"gateway": "\([^"]*\)".*/\1/' answer); port=$(cat port)
            echo "{\"type\": \"publish-endpoint\", \"message\": \"81=$gateway:$port\"}"
            echo "{\"type\": \"publish-endpoint\", \"message\": \"80=localhost:$port\"}";;
  *" pull --kind=deaf "*) echo '{"type": "get-image", "message": "busybox"}'; exec 3<&0
            sleep 60 <&3 >/dev/null 2>&1 & echo $! > child;;
  *" pull "*) echo '{"type": "get-image", "message": "busybox"}'; ./take > image; echo "$COMPOSE_PROVIDER_MESSAGES" > messages;;
  *" --kind=asking "*) echo '{"type": "get-service-config"}'; read answer; echo "$answer" > answer;;
  *" up "*) echo "{\"type\": \"setenv\", \"message\": \"ADDRESS=cloud://$(cat address)\"}"
            echo '{"type": "rawsetenv", "message": "KEY=open=sesame"}';;
esac
"""


@pytest.fixture
def cloud(composer, tmp_path):
    """The folder of the program, which is on the PATH; `notes` records its calls."""
    folder = tmp_path / "cloud"
    folder.mkdir()
    (folder / "docker-cloud").write_text(CLOUD)
    (folder / "docker-cloud").chmod(0o755)
    (folder / "address").write_text("here")
    parameters = [{"name": "kind", "required": True}, {"name": "size"}]
    about = {"up": {"parameters": parameters}, "down": {"parameters": []}, "stop": {"parameters": []}}
    (folder / "metadata.json").write_text(json.dumps(about))
    composer.environ["PATH"] = f"{folder}:{composer.environ['PATH']}"
    return folder


def calls(folder):
    return [line for line in (folder / "notes").read_text().splitlines() if "metadata" not in line]


def test_variables_of_a_provider_reach_dependents(composer, cloud):
    composer("up", "-d")
    assert "cloud://here open=sesame" in composer("exec", "-T", "app", "sh", "-c", "echo $STORE_ADDRESS $KEY").out
    before = composer("ps", "-q").out
    composer("up", "-d")
    assert composer("ps", "-q").out == before and before.count("\n") == 1
    (cloud / "address").write_text("there")
    composer("up", "-d", "-t", "0")
    assert composer("ps", "-q").out != before
    composer("stop", "-t", "0")
    composer("down")
    project = f"compose --project-name={composer.name}"
    up = f"{project} up --kind=disk --size=1 --size=2 store"
    assert calls(cloud) == [up, up, up, f"{project} stop store", f"{project} down store"]


def test_the_containers_of_a_service_go_when_it_is_provided(composer, cloud):
    provided = (composer.folder / "compose.yaml").read_text()
    composer.write(compose="services: {store: {image: busybox, command: [sleep, '1000'], init: true}}")
    composer("up", "-d")
    composer.write(compose=provided)
    composer("up", "-d", "-t", "0")
    assert composer("ps", "-a", "--format", "{{.Service}}").out == "app\n"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("broken", 'service "store": provider cloud failed (up): no cloud today'),
        ("odd", "invalid message"),
        ("wrong", "its provider published the endpoint '80=nowhere'; expected PORT=HOST:PORT"),
        ("early", "its provider sent get-image, which is only possible during pull"),
        ("strange", "a message of unknown type 'sing'"),
    ],
)
def test_provider_failure_ends_the_command(composer, cloud, kind, said):
    assert said in composer("up", "-d", code=1, environ={"KIND": kind}).err
    assert not composer("ps", "-aq").out


def test_missing_program(composer):
    assert "provider 'cloud' not found" in composer("up", "-d", code=1).err


def test_provider_requests_its_definition(composer, cloud):
    composer.write(
        compose="""
        services:
          store: {provider: {type: cloud, options: {kind: asking}}, environment: {TOWN: Trier}, scale: 2, ports: ["80"]}
        """
    )
    composer("up", "-d")
    answer = json.loads((cloud / "answer").read_text())
    assert answer["environment"] == {"TOWN": "Trier"} and answer["scale"] == 2
    composer("up", "-d", "--scale", "store=5")
    assert json.loads((cloud / "answer").read_text())["scale"] == 5 and not composer("ps", "-aq").out
    assert answer["ports"] == [{"mode": "ingress", "target": 80, "protocol": "tcp"}]
    composer("down")


@pytest.fixture
def resource(cloud):
    """A web server on this machine that answers with the requested path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), Handler) as server:
        (cloud / "port").write_text(str(server.server_address[1]))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_relay_forwards_to_the_endpoints_of_the_provider(composer, cloud, resource):
    composer.environ["KIND"] = "relay"
    composer("up", "-d")
    for port in (80, 81):
        assert composer("exec", "-T", "app", "wget", "-qO-", f"http://store:{port}/at{port}").out == f"/at{port}"
    (network,) = json.loads((cloud / "answer").read_text())["networks"]
    assert network["name"] == f"{composer.name}_store_relay"
    relay = composer("ps", "-q", "store").out
    assert f"{composer.name}-store-1" in composer("ps").out
    for refused in (("exec", "store", "true"), ("cp", "/etc/passwd", "store:/")):
        assert "its container is a network relay and does not support" in composer(*refused, code=1).err
    composer("create")
    composer("up", "-d")
    composer("restart", "-t", "0", "store")
    assert composer("ps", "-q", "store").out == relay
    composer("stop", "-t", "1")
    composer("start")
    assert composer("run", "--rm", "-T", "app", "wget", "-qO-", "http://store/run").out.endswith("/run")
    (cloud / "port").write_text("1")
    composer("up", "-d", "-t", "0")
    assert composer("ps", "-q", "store").out not in (relay, "")
    composer("exec", "-T", "app", "wget", "-qO-", "http://store/", code=1)
    composer.environ["KIND"] = "disk"
    composer("up", "-d", "-t", "0")
    assert composer("ps", "-a", "--format", "{{.Service}}").out == "app\n"
    assert network["name"] not in composer("network", "ls").out
    composer.environ["KIND"] = "relay"
    composer("up", "-d", "-t", "0")
    composer("down", "-t", "0")
    assert composer.name not in composer("network", "ls").out


def test_a_dependant_that_waits_for_health_is_content_with_the_relay(composer, cloud, resource):
    composer.environ["KIND"] = "relay"
    text = (composer.folder / "compose.yaml").read_text()
    composer.write(compose=text.replace("[store]", "{store: {condition: service_healthy}}"))
    composer("up", "-d")
    assert composer("exec", "-T", "app", "wget", "-qO-", "http://store/").out == "/"
    composer("down", "-t", "0")


def test_the_relay_of_another_image(composer, cloud, resource):
    composer.environ |= {"KIND": "relay", "COMPOSE_RELAY_IMAGE": "busybox"}
    composer("up", "-d")
    assert "busybox" in composer("ps", "-a", "store").out
    composer("down", "-t", "0")


def test_a_foreign_network_with_the_name_of_the_relays(composer, cloud, resource):
    composer.environ["KIND"] = "relay"
    name = f"{composer.name}_store_relay"
    composer("network", "create", name)
    assert f"a network named {name} already exists" in composer("up", "-d", code=1).err
    assert json.loads((cloud / "answer").read_text()) == {"networks": []}
    composer("network", "rm", name)
    composer("down", "-t", "0")


TAKE = f"""#!{sys.executable}
import sys
read, write = sys.stdin.buffer, sys.stdout.buffer
write.write(read.readline())
while size := int(read.readline(), 16):
    write.write(read.read(size))
    assert read.read(2) == b"\\r\\n"
"""
"""Prints the line that announces an image, and the image, which is in HTTP's chunked encoding."""


def test_provider_requests_its_image(composer, cloud):
    about = json.loads((cloud / "metadata.json").read_text())
    (cloud / "metadata.json").write_text(json.dumps({**about, "pull": {"parameters": []}}))
    (cloud / "take").write_text(TAKE)
    (cloud / "take").chmod(0o755)
    composer.write(compose="services: {store: {image: busybox, provider: {type: cloud, options: {kind: disk}}}}")
    composer("up", "-d")
    composer("pull")
    first, second = (call for call in calls(cloud) if " pull " in call)
    assert "pull --image=busybox --source=registry --policy=missing --digest=sha256:" in first
    assert "--policy=always" in second and second.endswith(" store")
    head, _, body = (cloud / "image").read_bytes().partition(b"\n")
    assert json.loads(head) == {"type": "image-stream", "encoding": "chunked", "media-type": "application/x-tar"}
    assert "manifest.json" in tarfile.open(fileobj=io.BytesIO(body)).getnames()
    assert "get-image" in (cloud / "messages").read_text()
    composer("down")


def test_a_child_of_a_provider_that_reads_nothing_blocks_no_command(composer, cloud):
    """It holds the pipe of the answers open while an image waits in it."""
    about = json.loads((cloud / "metadata.json").read_text())
    (cloud / "metadata.json").write_text(json.dumps({**about, "pull": {"parameters": [{"name": "kind"}]}}))
    composer.write(compose="services: {store: {image: busybox, provider: {type: cloud, options: {kind: deaf}}}}")
    composer("pull")
    os.kill(int((cloud / "child").read_text()), signal.SIGKILL)  # it still ran
