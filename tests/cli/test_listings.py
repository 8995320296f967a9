"""ps, ls, port, images, volumes, stats: their output for given containers, in docker compose's form."""

from __future__ import annotations

import importlib
import json
import time
from typing import Any

import pytest

from composer.cli.commands.images import _view as images_view
from composer.cli.errors import CommandError, UsageError
from composer.cli.parsing.flags import parse
from composer.cli.parsing.options import EVERYWHERE, GLOBAL
from composer.cli.project.context import Context
from composer.view.containers import command_text, ports_text, publishers, status_text
from engine.spec.container import ContainerSpec, Mount, PortBinding
from engine.spec.image import ImageConfig, ImageRecord
from engine.spec.network import VolumeRecord, VolumeSpec
from engine.spec.state import ContainerRecord, ContainerState, Health, Status
from engine.spec.stream import ContainerStats

IMAGE = ImageRecord(
    id="sha256:" + "80a488f1ff24" * 5 + "abcd",
    tags=("bench/busybox:1",),
    config=ImageConfig(command=("/bin/sh",), exposed_ports=("99/tcp",)),
    architecture="amd64",
    size=1_985_472,
)


def record(service: str, number: int = 1, *, oneoff: bool = False, **state: Any) -> ContainerRecord:
    name = f"shop-{service}-{'run-0a1b2c3d4e5f' if oneoff else number}"
    labels = {
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": service,
        "com.docker.compose.container-number": str(number),
        "com.docker.compose.oneoff": str(oneoff),
        "com.docker.compose.project.config_files": "/srv/shop/compose.yaml",
    }
    state = {"status": Status.RUNNING, "created_at": time.time() - 2.5, "started_at": time.time() - 2.5, **state}
    spec = ContainerSpec(
        name=name,
        image=IMAGE.id,
        image_ref="bench/busybox:1",
        labels=labels,
        command=("sh", "-c", "echo db up; exec sleep 1000"),
        mounts=(Mount(type="volume", source="shop_data", target="/data"),),
    )
    return ContainerRecord(
        id=f"{service}{number}".ljust(64, "0"), group="shop", spec=spec, state=ContainerState(**state)
    )


class Engine:
    def __init__(self, records: list[ContainerRecord]) -> None:
        self.records = records
        self.usage = iter(range(1, 100))

    def groups(self) -> list[str]:
        return sorted({record.group for record in self.records})

    def find_container(self, name: str) -> ContainerRecord | None:
        every = (record for group in self.groups() for record in self.containers(group))
        return next((record for record in every if name in (record.id, record.spec.name)), None)

    def containers(self, group: str) -> list[ContainerRecord]:
        return [record for record in self.records if record.group == group]

    def image(self, reference: str) -> ImageRecord | None:
        return IMAGE if reference in (IMAGE.id, *IMAGE.tags) else None

    def volumes(self) -> list[VolumeRecord]:
        labels = {"com.docker.compose.project": "shop"}
        ours = VolumeSpec(name="shop_data", labels=labels)
        return [VolumeRecord(spec=ours, mountpoint="/v"), VolumeRecord(spec=VolumeSpec(name="x"), mountpoint="/x")]

    def stats(self, group: str, container_id: str) -> ContainerStats:
        now = next(self.usage)
        return ContainerStats(
            read_at=now, cpu=now * 22_400_000, memory=648 * 1024, memory_limit=1024**3, pids=2, received=1170, sent=126
        )


WEB_PORTS = (PortBinding(container_port=80, host_port="18080"),)


@pytest.fixture
def engine() -> Engine:
    return Engine(
        [
            record("web", ports=WEB_PORTS),
            record("db", health=Health(status="healthy")),
            record("job", status=Status.EXITED, exit_code=3, finished_at=time.time() - 61),
            record("web", 7, oneoff=True),
        ]
    )


def run(engine: Engine, capsys: pytest.CaptureFixture[str], name: str, *words: str) -> str:
    module = importlib.import_module(f"composer.cli.commands.{name}")
    context = Context(parse(GLOBAL, ["-p", "shop"]), open_engine=lambda roots: engine, environ={})  # type: ignore[arg-type, return-value]
    context.declared_services = lambda: {"web", "db", "job"}  # type: ignore[method-assign]
    assert module.run(context, parse((*module.COMMAND.flags, *EVERYWHERE), words)) == 0
    return capsys.readouterr().out


def test_ps(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(engine, capsys, "ps") == (
        "NAME         IMAGE             COMMAND                  SERVICE   CREATED         STATUS                   PORTS\n"
        'shop-db-1    bench/busybox:1   "sh -c \'echo db up; …"   db        2 seconds ago   Up 2 seconds (healthy)   99/tcp\n'
        'shop-web-1   bench/busybox:1   "sh -c \'echo db up; …"   web       2 seconds ago   Up 2 seconds             '
        "99/tcp, 0.0.0.0:18080->80/tcp, [::]:18080->80/tcp\n"
    )


def test_ps_selections(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    names = "{{.Name}}"
    assert run(engine, capsys, "ps", "-a", "--format", names).split() == [
        "shop-db-1", "shop-job-1", "shop-web-1", "shop-web-run-0a1b2c3d4e5f",
    ]  # fmt: skip
    assert run(engine, capsys, "ps", "--status", "exited", "--format", names).split() == ["shop-job-1"]
    assert run(engine, capsys, "ps", "--filter", "status=running", "--services") == "db\nweb\n"
    assert run(engine, capsys, "ps", "-q", "web") == "web1".ljust(64, "0") + "\n"
    assert "Exited (3) About a minute ago" in run(engine, capsys, "ps", "-a")
    assert run(engine, capsys, "ps", "--format", "table {{.Name}}\t{{.State}}", "db") == (
        "NAME        STATE\nshop-db-1   running\n"
    )
    with pytest.raises(CommandError, match=r"no such service: wep: did you mean web?"):
        run(engine, capsys, "ps", "wep")
    with pytest.raises(UsageError, match="no field 'Nope'"):
        run(engine, capsys, "ps", "--format", "{{.Nope}}")
    with pytest.raises(UsageError, match="unclosed action"):
        run(engine, capsys, "ps", "--format", "{{.Name")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{range .Publishers}}{{.TargetPort}}/{{.Protocol}} {{end}}", "80/tcp 80/tcp 99/tcp \n"),
        ("{{.Publishers}}", "[{0.0.0.0 80 18080 tcp} {:: 80 18080 tcp} { 99 0 tcp}]\n"),
        ('{{.Label "com.docker.compose.service"}}-{{.Label "none"}}.', "web-.\n"),
        ('{{if eq .State "running"}}up{{else}}down{{end}}', "up\n"),
        ('{{printf "%-10s|%3d|%03d" .Service .ExitCode 7}}', "web       |  0|007\n"),
        ("{{- .Service -}}  x", "webx\n"),
        ('{{.Service | upper | printf "%q"}}', '"WEB"\n'),
        ('{{index (split .Name "-") 1}} {{slice .Name 0 4}} {{pad .Service 1 2}}|', "web shop  web  |\n"),
        (
            'table {{.ID}}\t{{.Label "com.docker.compose.container-number"}}\t{{upper .Service}}\t{{truncate .Name 3}}',
            "CONTAINER ID   container number   SERVICE   NAME\nweb100000000   1                  WEB       sho\n",
        ),
        ("table {{.LocalVolumes}}\t{{.ExitCode}}", "LOCAL VOLUMES   EXIT CODE\n1               0\n"),
    ],
)
def test_ps_templates(engine: Engine, capsys: pytest.CaptureFixture[str], template: str, text: str) -> None:
    assert run(engine, capsys, "ps", "--format", template, "web") == text


def test_ps_raw(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(engine, capsys, "ps", "--format", "raw", "web").splitlines()
    names = ["container_id", "image", "command", "created_at", "state", "status", "names", "labels", "ports"]
    assert [line.partition(":")[0] for line in lines] == [*names, ""]


def test_ps_names_another_engine_only_where_there_is_one(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert "ENGINE" not in run(engine, capsys, "ps") and '"Engine":""' in run(engine, capsys, "ps", "--format", "json")
    engine.records[0].spec.labels["com.docker.compose.engine"] = "far"
    header, db, web = run(engine, capsys, "ps").splitlines()
    assert header[header.index("ENGINE") :].split() == ["ENGINE", "PORTS"]
    assert web[header.index("ENGINE") :].startswith("far ") and not db[header.index("ENGINE") :].startswith("far")
    assert run(engine, capsys, "ps", "--format", "{{.Name}} {{.Engine}}", "web") == "shop-web-1 far\n"


def test_ps_json_has_docker_composes_names(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(engine, capsys, "ps", "--format", "json").splitlines()
    view = json.loads(lines[1])
    assert list(view) == sorted(view) and len(view) == 21
    assert view["Publishers"] == [
        {"URL": "", "TargetPort": 99, "PublishedPort": 0, "Protocol": "tcp"},
        {"URL": "0.0.0.0", "TargetPort": 80, "PublishedPort": 18080, "Protocol": "tcp"},
        {"URL": "::", "TargetPort": 80, "PublishedPort": 18080, "Protocol": "tcp"},
    ] or [p["TargetPort"] for p in view["Publishers"]] == [80, 80, 99]
    assert view["Ports"] == "99/tcp, 0.0.0.0:18080->80/tcp, [::]:18080->80/tcp" and "\\u003e" in lines[1]
    assert (view["State"], view["Health"], view["ExitCode"], view["ID"]) == ("running", "", 0, "web100000000")


def test_ls(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(engine, capsys, "ls") == (
        "NAME                STATUS              CONFIG FILES\n"
        "shop                running(2)          /srv/shop/compose.yaml\n"
    )
    assert "exited(1), running(2)" in run(engine, capsys, "ls", "-a")
    assert run(engine, capsys, "ls", "--filter", "name=other", "-q") == ""
    assert run(engine, capsys, "ls", "--filter", "name=^sho?p$", "-q") == "shop\n"
    with pytest.raises(UsageError, match="invalid filter"):
        run(engine, capsys, "ls", "--filter", "name=(")
    assert json.loads(run(engine, capsys, "ls", "--format", "json"))[0]["Name"] == "shop"


def test_port(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(engine, capsys, "port", "web", "80") == "0.0.0.0:18080\n"
    with pytest.raises(CommandError, match="no port 81/udp for container shop-web-1; published: 80/tcp"):
        run(engine, capsys, "port", "web", "81", "--protocol", "udp")
    with pytest.raises(CommandError, match='service "job" is not running'):
        run(engine, capsys, "port", "job", "80")
    with pytest.raises(CommandError, match='service "web" is not running container #4'):
        run(engine, capsys, "port", "--index", "4", "web", "80")


def test_images(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(engine, capsys, "images").splitlines()
    assert lines[0].split() == ["CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE", "ID", "SIZE", "CREATED"]
    assert lines[1].split() == ["shop-db-1", "bench/busybox", "1", "linux/amd64", "80a488f1ff24", "1.99MB", "N/A"]
    assert run(engine, capsys, "images", "-q") == IMAGE.id.split(":")[1] + "\n"


@pytest.mark.parametrize(
    ("asked", "tags", "shown"),
    [
        ("alpine", ("docker.io/library/busybox:latest", "docker.io/library/alpine:latest"), ("alpine", "latest")),
        ("example/x", ("docker.io/example/x:latest",), ("example/x", "latest")),
        ("docker.io/library/alpine:3", ("docker.io/library/alpine:3",), ("alpine", "3")),
        ("gone:1", ("docker.io/library/kept:2",), ("kept", "2")),
        ("localhost:5000/x", ("localhost:5000/x:latest",), ("localhost:5000/x", "latest")),
    ],
)
def test_images_have_familiar_names(asked: str, tags: tuple[str, ...], shown: tuple[str, str]) -> None:
    found = record("web")
    asking = ContainerRecord(
        id=found.id, group="shop", spec=ContainerSpec(name="x", image=IMAGE.id, image_ref=asked), state=found.state
    )
    image = ImageRecord(id=IMAGE.id, tags=tags, config=IMAGE.config, created_at=5.0)
    view = images_view(asking, image)
    assert (view["Repository"], view["Tag"]) == shown
    assert view["Created"] == "1970-01-01T00:00:05Z"


def test_long_sources_of_mounts_are_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    found = record("web")
    mounts = (Mount(type="volume", source="f" * 64, target="/a"), Mount(type="bind", source="/short", target="/b"))
    spec = ContainerSpec(name="x", image=IMAGE.id, labels=found.spec.labels, mounts=mounts)
    one = Engine([ContainerRecord(id=found.id, group="shop", spec=spec, state=found.state)])
    assert run(one, capsys, "ps", "--format", "{{.Mounts}}") == "f" * 14 + "…,/short\n"
    assert run(one, capsys, "ps", "--no-trunc", "--format", "{{.Mounts}}") == "f" * 64 + ",/short\n"


def test_volumes(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(engine, capsys, "volumes") == "DRIVER    VOLUME NAME\nlocal     shop_data\n"
    assert run(engine, capsys, "volumes", "-q") == "shop_data\n"


def test_stats(engine: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("composer.cli.commands.stats.INTERVAL", 0)
    lines = run(engine, capsys, "stats", "--no-stream", "db").splitlines()
    assert lines[0].startswith("CONTAINER ID   NAME")
    assert lines[1].split() == [
        "db1000000000", "shop-db-1", "2.24%", "648KiB", "/", "1GiB", "0.06%", "1.17kB", "/", "126B", "0B", "/", "0B", "2",
    ]  # fmt: skip


def test_status_texts() -> None:
    now = 1000.0

    def text(**state: Any) -> str:
        return status_text(record("web", **{"started_at": now - 5, "finished_at": now - 3, **state}), now)

    assert text() == "Up 5 seconds"
    assert text(health=Health(status="starting")) == "Up 5 seconds (health: starting)"
    assert text(status=Status.PAUSED) == "Up 5 seconds (Paused)"
    assert text(status=Status.RESTARTING, exit_code=1) == "Restarting (1) 3 seconds ago"
    assert text(status=Status.EXITED, exit_code=137) == "Exited (137) 3 seconds ago"
    assert text(status=Status.EXITED, exit_code=137, oom_killed=True) == "Exited (137) 3 seconds ago, out of memory"
    assert text(status=Status.CREATED, started_at=0) == "Created"
    assert text(status=Status.DEAD) == "Dead" and text(status=Status.REMOVING) == "Removal In Progress"


def test_port_of_a_routed_network(capsys: pytest.CaptureFixture[str]) -> None:
    """As in Docker: no port of the host leads to it."""
    ports = tuple(PortBinding(container_port=80, host_ip=address) for address in ("0.0.0.0", "::"))
    engine = Engine([record("web", ports=ports)])
    assert run(engine, capsys, "port", "web", "80") == "0.0.0.0:0\n"
    assert run(engine, capsys, "port", "web") == "80/tcp -> 0.0.0.0:0\n80/tcp -> [::]:0\n"
    with pytest.raises(CommandError, match="no port 99/tcp"):
        run(engine, capsys, "port", "web", "99")


def test_port_ranges_join() -> None:
    ports = tuple(
        PortBinding(container_port=port, host_ip="127.0.0.1", host_port=str(port), protocol="udp")
        for port in (81, 82, 83, 90)
    )
    assert (
        ports_text(publishers(record("web", ports=ports), None)) == "127.0.0.1:81-83->81-83/udp, 127.0.0.1:90->90/udp"
    )
    assert ports_text(publishers(record("web", status=Status.EXITED, ports=ports), None)) == ""


def test_the_command_is_the_images_where_the_service_has_none() -> None:
    spec = ContainerSpec(name="a", image="i")
    config = ImageConfig(entrypoint=("/entry", "x y"), command=("run",))
    bare = ContainerRecord(id="1", group="g", spec=spec)
    assert command_text(bare, config) == "/entry 'x y' run"
    own = ContainerRecord(id="1", group="g", spec=ContainerSpec(name="a", image="i", entrypoint=("e",)))
    assert command_text(own, config) == "e"
