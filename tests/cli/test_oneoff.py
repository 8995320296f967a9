from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.cli.commands.run import COMMAND, _Run
from composer.cli.errors import CommandError, UsageError
from composer.cli.parsing.flags import parse
from composer.cli.project.oneoff import oneoff_spec, ports, volume
from composer.plan.desired import Desired
from engine.errors import StartFailed
from engine.spec.container import Attachment, ContainerSpec, Mount, PortBinding, Restart

BASE = ContainerSpec(
    name="shop-web-1",
    image="i",
    labels={"com.docker.compose.service": "web", "com.docker.compose.oneoff": "False"},
    entrypoint=("/entry",),
    command=("serve",),
    environment={"A": "1", "B": "2"},
    ports=(PortBinding(container_port=80, host_port="8080"),),
    mounts=(Mount(type="volume", source="shop_data", target="/data"), Mount(type="tmpfs", target="/tmp")),
    networks=(Attachment(network="shop_default", aliases=("web",), ipv4_address="10.0.0.5"),),
    restart=Restart(policy="always"),
    cap_add=("NET_ADMIN",),
)


def spec(*words: str) -> ContainerSpec:
    args = parse(COMMAND.flags, [*words], interspersed=False)
    return oneoff_spec(
        BASE, args, project="shop", service="web", tty=False, volumes={"data": "shop_data"}, environ={"C": "3"},
        directory="/srv/shop",
    )  # fmt: skip


def test_settings_that_a_oneoff_container_keeps() -> None:
    made = spec("web", "migrate", "--now")
    assert re.fullmatch("shop-web-run-[0-9a-f]{12}", made.name)
    assert (made.entrypoint, made.command) == (("/entry",), ("migrate", "--now"))
    assert made.ports == () and made.restart.policy == "no" and made.stdin_open
    assert made.networks[0].network == "shop_default" and made.networks[0].aliases == ()
    assert made.labels["com.docker.compose.oneoff"] == "True" and made.mounts == BASE.mounts
    assert spec("web").command == ("serve",)


def test_the_flags() -> None:
    made = spec(
        "--name", "named", "-e", "B=4", "-e", "C", "-u", "1000", "-w", "/w", "--cap-add", "SYS_TIME", "-l", "k=v",
        "--use-aliases", "-P", "-p", "127.0.0.1:9000:90/udp", "-v", "data:/data:ro", "-v", "./conf:/etc/conf",
        "--entrypoint", "sh -c", "web", "echo hi",
    )  # fmt: skip
    assert made.name == "named" and made.environment == {"A": "1", "B": "4", "C": "3"}
    assert (made.user, made.working_dir, made.labels["k"]) == ("1000", "/w", "v")
    assert made.cap_add == ("NET_ADMIN", "SYS_TIME") and made.networks == BASE.networks
    assert made.ports == (
        *BASE.ports,
        PortBinding(container_port=90, protocol="udp", host_ip="127.0.0.1", host_port="9000"),
    )
    assert made.mounts == (
        Mount(type="tmpfs", target="/tmp"),
        Mount(type="volume", source="shop_data", target="/data", read_only=True),
        Mount(type="bind", source="/srv/shop/conf", target="/etc/conf"),
    )
    assert (made.entrypoint, made.command) == (("sh", "-c"), ("echo hi",))
    assert spec("--entrypoint", "", "web").entrypoint == () and spec("--entrypoint", "x", "web").command == ()


def test_environment_files(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("B=file\nC\nD='quoted value'\n")
    made = spec("--env-from-file", str(tmp_path / "env"), "-e", "B=flag", "web")
    assert made.environment == {"A": "1", "B": "flag", "C": "3", "D": "quoted value"}
    with pytest.raises(UsageError, match="no such file"):
        spec("--env-from-file", str(tmp_path / "none"), "web")


def test_volumes_and_ports() -> None:
    assert volume("/only", {}, "/") == Mount(type="volume", target="/only")
    assert volume("other:/x", {}, "/") == Mount(type="volume", source="other", target="/x")
    assert volume("/a:/b:ro,rshared", {}, "/") == Mount(
        type="bind", source="/a", target="/b", read_only=True, propagation="rshared"
    )
    assert ports("80") == [PortBinding(container_port=80)]
    assert [p.host_port for p in ports("8000-8001:80-81")] == ["8000", "8001"]
    assert ports("8000-8010:80") == [PortBinding(container_port=80, host_port="8000-8010")]
    assert ports("[::1]:8080:80")[0].host_ip == "::1"


@pytest.mark.parametrize("text", ["x", "0", "80/icmp", "1-2:80-82", "70000:1", "5-3", ":", "1:2:3:4:x"])
def test_wrong_ports(text: str) -> None:
    with pytest.raises(UsageError, match="invalid port"):
        ports(text)


@pytest.mark.parametrize("text", ["data:rel", "a:/b:bad", "", ":"])
def test_wrong_volumes(text: str) -> None:
    with pytest.raises(UsageError, match="invalid volume"):
        volume(text, {}, "/")


@given(st.text(alphabet="0159-:/[]tcpudx.", max_size=14))
def test_any_port_text_is_understood_or_refused(text: str) -> None:
    try:
        assert all(0 < binding.container_port < 65536 for binding in ports(text))
    except UsageError:
        pass


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--name", "a/b"), 'invalid container name "a/b"'),
        (("--name", "x"), "invalid container name"),
        (("-w", "relative"), "absolute path"),
        (("-l", "alone"), "label must be set as KEY=VALUE"),
    ],
)
def test_wrong_values(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        spec(*words, "web")


@pytest.mark.parametrize("error", [StartFailed("exec: x", exit_code=127), CommandError("service web: exec: x")])
def test_a_failed_start_names_the_service(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both the process, which the command attaches to, and the supervisor report a failed start."""

    def failing(_: _Run) -> None:
        raise error

    monkeypatch.setattr(_Run, "_start", failing)
    monkeypatch.setattr(_Run, "_named", lambda _: "")
    args = parse(COMMAND.flags, ["web", "x"], interspersed=False)
    with pytest.raises(CommandError, match=r"^service web: exec: x$"):
        _Run(SimpleNamespace(), args, Desired(project="shop"), "web", BASE, job=False).run()  # type: ignore[arg-type]
