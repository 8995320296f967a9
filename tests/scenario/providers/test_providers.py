"""Services that an external program provides."""

import json

import pytest

CLOUD = r"""#!/bin/sh
cd "$(dirname "$0")"
echo "$@" >> notes
[ "$2" = metadata ] && { cat metadata.json; exit 0; }
case " $* " in
  *" --kind=broken "*) echo '{"type": "error", "message": "no cloud today"}'; exit 1;;
  *" --kind=odd "*) echo 'hello'; exit 0;;
  *" --kind=strange "*) echo '{"type": "sing", "message": "la"}'; read x; exit 0;;
  *" --kind=relay "*) echo '{"type": "publish-endpoint", "message": "80=localhost:49152"}'; read x; exit 0;;
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


def test_its_variables_reach_who_depends_on_it(composer, cloud):
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
        ("relay", "its provider requested publish-endpoint, which composer does not support"),
        ("strange", "a message of unknown type 'sing'"),
    ],
)
def test_its_failure_ends_the_command(composer, cloud, kind, said):
    assert said in composer("up", "-d", code=1, environ={"KIND": kind}).err
    assert not composer("ps", "-aq").out


def test_a_program_that_is_not_there(composer):
    assert "provider 'cloud' not found" in composer("up", "-d", code=1).err


def test_it_may_ask_for_its_definition(composer, cloud):
    composer.write(
        compose="""
        services:
          store: {provider: {type: cloud, options: {kind: asking}}, environment: {TOWN: Trier}, scale: 2, ports: ["80"]}
        """
    )
    composer("up", "-d")
    answer = json.loads((cloud / "answer").read_text())
    assert answer["environment"] == {"TOWN": "Trier"} and answer["scale"] == 2
    assert answer["ports"] == [{"mode": "ingress", "target": 80, "protocol": "tcp"}]
    composer("down")
