"""Docker Compose 5.6's warnings about attributes without effect."""

from __future__ import annotations

from pathlib import Path

from composer.load.check.no_effect import effects
from tests.load.test_project import load

TEXT = """\
services:
  web:
    image: x
    ports: ["80:80", {target: 81, protocol: udp, mode: host}]
    configs: [c]
    deploy: {mode: replicated, placement: {constraints: [a]}, labels: {a: b}, replicas: 2}
  api: {image: x, deploy: {endpoint_mode: vip}, secrets: [s]}
  plain: {image: x, deploy: {replicas: 1}}
configs: {c: {content: a, labels: {a: b}}}
secrets: {s: {environment: A, driver_opts: {a: b}}}
"""


def test_attributes_without_effect(tmp_path: Path) -> None:
    lines = effects(load(tmp_path, TEXT).tree)
    assert [line.rpartition(" (")[0] for line in lines] == [
        'service "api": deploy.endpoint_mode: deploy.endpoint_mode only applies to Swarm\'s routing mesh',
        'service "api": secrets.s.driver_opts: secrets[].driver_opts is only honored by Swarm secret drivers',
        'service "web": configs.c.labels: configs[].labels are only applied to Swarm config objects',
        'service "web": deploy.labels: deploy.labels are only applied to Swarm services',
        'service "web": deploy.mode: deploy.mode is only honored in Swarm mode',
        'service "web": deploy.placement: deploy.placement is only honored by the Swarm scheduler',
        'service "web": ports[81/udp].mode: ports[].mode: host is only honored by the Swarm routing mesh',
    ]
    assert lines[4].endswith("compose.yaml:6:14)") and lines[4].kind == "no-effect"
