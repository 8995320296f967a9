import pytest

from engine.errors import ImageError
from engine.image import config
from engine.spec.container import Healthcheck
from engine.spec.image import ImageConfig

FULL = ImageConfig(
    user="web:web",
    environment=("A=b", "C=d=e"),
    entrypoint=("/init",),
    command=("serve", "--port"),
    working_dir="/srv",
    exposed_ports=("53/udp", "80/tcp"),
    volumes=("/data",),
    labels={"a": "1"},
    stop_signal="SIGQUIT",
    shell=("/bin/bash", "-c"),
    healthcheck=Healthcheck(
        test=("CMD", "true"), interval=1.5, timeout=2, start_period=3, start_interval=0.25, retries=4
    ),
    on_build=("RUN true",),
)


def blob(execution):
    return config.encode(
        config.ImageFile(
            architecture="amd64", os="linux", config=config.raw(execution), rootfs=config.RootFS(diff_ids=[])
        )
    )


@pytest.mark.parametrize("execution", [FULL, ImageConfig()])
def test_round_trip(execution):
    assert config.execution(config.decode(blob(execution), "x")) == execution


def test_the_same_configuration_has_the_same_bytes():
    other = ImageConfig(labels={"b": "2", "a": "1"})
    assert blob(other) == blob(ImageConfig(labels={"a": "1", "b": "2"}))


def test_nulls_as_docker_writes_them():
    text = (
        b'{"architecture":"amd64","os":"linux","config":{"Entrypoint":null,"Cmd":["sh"],"Volumes":null,"Labels":null},'
    )
    text += b'"created":"2024-05-01T10:00:00.123456789Z","rootfs":{"type":"layers","diff_ids":null},"history":null}'
    found = config.decode(text, "x")
    assert config.execution(found) == ImageConfig(command=("sh",))
    assert config.timestamp(found.created) == pytest.approx(1714557600.123456)


def test_chain_ids_are_those_of_the_specification():
    a, b = ("sha256:" + digit * 64 for digit in "ab")
    chain = config.chain_ids([a, b])
    assert chain[0] == a
    # sha256 of the text "sha256:aaa… sha256:bbb…", computed by sha256sum(1)
    assert chain[1] == "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c"
    assert config.chain_ids([]) == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"os":"linux"}',
        b'{"architecture":"a","os":"linux","rootfs":{"diff_ids":["md5:1"]}}',
        b'{"architecture":"a","os":"linux","rootfs":{"type":"weird"}}',
    ],
)
def test_invalid_configurations_are_refused(text):
    with pytest.raises(ImageError):
        config.decode(text, "x")


@pytest.mark.parametrize("text", [None, "", "yesterday", "9999-99-99T00:00:00Z"])
def test_an_unreadable_time_is_zero(text):
    assert config.timestamp(text) == 0
