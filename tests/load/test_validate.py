"""Messages of validation: the position, what was found, what is allowed, and what was probably meant."""

from __future__ import annotations

from typing import Any

import pytest

from composer.load.check.constraints import constrain
from composer.load.check.validate import REPORTED, validate
from composer.load.keys import CHECKS
from composer.load.tree.nodes import Map, Origin, Sequence


def tree(value: Any, line: list[int] | None = None) -> Any:
    """The value as a tree in which each entry has its own line."""
    line = [0] if line is None else line

    def origin() -> Origin:
        line[0] += 1
        return Origin("compose.yaml", line[0], 3)

    if isinstance(value, dict):
        made = Map()
        for key, inner in value.items():
            place = origin()
            made.place(key, tree(inner, line), place)
        return made
    if isinstance(value, list):
        items = Sequence()
        for inner in value:
            place = origin()
            items.put(tree(inner, line), place)
        return items
    return value


def messages(value: Any) -> list[str]:
    return [str(error) for error in validate(tree(value))]


def service(**keys: Any) -> dict[str, Any]:
    return {"services": {"web": keys}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (service(healtcheck={}), ":3:3: services.web: unknown key 'healtcheck'\n  did you mean 'healthcheck'?"),
        (service(DNS=[]), ":3:3: services.web: unknown key 'DNS'\n  did you mean 'dns'?"),
        (service(image=3), ":3:3: services.web.image must be a string, found 3\n  quote it to get a string: '3'"),
        (
            service(image=True),
            ":3:3: services.web.image must be a string, found true\n  quote it to get a string: 'true'",
        ),
        (
            service(cap_add="ALL"),
            ":3:3: services.web.cap_add must be a list, found 'ALL'\n  write a list, even for a single item: ['ALL']",
        ),
        (
            service(environment=None),
            ":3:3: services.web.environment must be a mapping or a list, found nothing\n"
            "  indent its content below it",
        ),
        (service(dns=["a", "b", "a"]), ":6:3: services.web.dns[2]: 'a' is a duplicate of services.web.dns[0] (line 4)"),
        (service(cgroup="hst"), ":3:3: services.web.cgroup must be 'host' or 'private', found 'hst'\n  did you mean 'host'?"),
        (
            service(cgroup="\x1b[2J\u202e\n"),
            ":3:3: services.web.cgroup must be 'host' or 'private', found '\\x1b[2J\\u202e\\n'",
        ),
        (service(oom_score_adj=1001), ":3:3: services.web.oom_score_adj must be at most 1000, found 1001"),
        (service(develop={"watch": [{"path": "a"}]}), ":5:3: services.web.develop.watch[0]: 'action' is missing"),
        (
            service(build={"platform": "x"}),
            ":4:3: services.web.build: unknown key 'platform'\n"
            "  did you mean 'platforms'? ('platform' is a key of services.NAME)",
        ),
        (
            service(ports=[{"host": 1}]),
            ":5:3: services.web.ports[0]: unknown key 'host'\n  did you mean 'host_ip'?",
        ),
        (
            {"services": {"image": "x"}},
            ":2:3: services.image must be a mapping, found 'x'\n"
            "  image is a key of one of the services: it must be indented below that one's name",
        ),
        (
            {"web": {"image": "x"}},
            ":1:3: top level: unknown key 'web'\n"
            "  is it a service? It must be indented below 'services:', as services.web",
        ),
        (
            {"services": {"a b": {}}},
            ":2:3: services: 'a b' is not a valid name\n  letters, digits, '.', '_' and '-' are allowed in a name",
        ),
        (service(container_name=""), ":3:3: services.web.container_name: '' does not match [a-zA-Z0-9][a-zA-Z0-9_.-]+"),
        (
            service(stop_grace_period=1.5),
            ":3:3: services.web.stop_grace_period must be a string, found 1.5\n  a duration has a unit: did you mean 1.5s?",
        ),
    ],
)  # fmt: skip
def test_messages(value: Any, message: str) -> None:
    assert messages(value) == [f"compose.yaml{message}"]


def test_all_faults_are_reported_in_line_order() -> None:
    found = messages({"volumes": 1, "services": {"web": {"imag": 1, "ports": {}}}, "zzz": 1})
    assert [text.split(": ")[0] for text in found] == [f"compose.yaml:{line}:3" for line in (1, 4, 5, 6)]


def test_further_faults_are_counted() -> None:
    found = messages({"services": {f"s{number}": None for number in range(100)}})
    assert len(found) == REPORTED + 1 and found[-1] == "… and 80 more problems"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"volumes": {"v": {"external": True, "driver": "x"}}},
            ":4:3: volumes.v: this project does not create an external volume",
        ),
        (
            {"configs": {"c": {"file": "a", "content": "b"}}},
            ":4:3: configs.c: 'file' and 'content' are mutually exclusive",
        ),
        ({"secrets": {"s": {}}}, ":2:3: secrets.s: one of 'file', 'environment' must be set"),
        (
            service(ports=[{"host_ip": "1.2.3"}]),
            ":5:3: services.web.ports[0]: '1.2.3' is not an IP address",
        ),
        (
            service(gpus=[{"count": 1, "device_ids": ["0"]}]),
            ":6:3: services.web.gpus[0]: 'count' and 'device_ids'",
        ),
        (
            service(develop={"watch": [{"path": ""}]}),
            ":6:3: services.web.develop.watch[0].path: a path to watch",
        ),
    ],
)
def test_constraints(value: Any, message: str) -> None:
    (error,) = constrain(tree(value), CHECKS)
    assert str(error).startswith(f"compose.yaml{message}")


@pytest.mark.parametrize(
    "value",
    [
        {
            "volumes": {
                "v": None,
                "w": {"external": True, "name": "x", "x-y": 1},
                "u": {"external": False, "driver": "x"},
            }
        },
        {
            "configs": {"c": {"external": True}, "d": {"driver": "x"}, "e": {"content": ""}},
            "secrets": {"s": {"file": "x"}},
        },
        service(ports=[{"host_ip": "::1"}, {"host_ip": "127.0.0.1"}, {"target": 1}], gpus=[{"count": 1}]),
    ],
)
def test_valid_values_pass(value: Any) -> None:
    assert constrain(tree(value), CHECKS) == []
