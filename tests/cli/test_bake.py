"""`build --print`: the bake file that Docker Compose 5.5 prints for the same project."""

from __future__ import annotations

from pathlib import Path

from composer.cli.project.bake import bake_file, target_names
from composer.load.options import LoadOptions
from composer.load.project import load
from composer.plan.translate.project import translate

COMPOSE = """\
name: bk
services:
  a:
    image: bk-a:1
    build:
      context: .
      dockerfile: sub/Dockerfile
      args: {X: "1", Z: "a$${b}", N: , M: }
      labels: {l: v}
      tags: [t1, "t2:3"]
      cache_from: [t1, "type=local,src=/x"]
      cache_to: ["type=inline"]
      network: host
      no_cache: true
      no_cache_filter: [s1]
      pull: true
      shm_size: 64m
      target: tgt
      platforms: [linux/amd64]
      ulimits: {nofile: {soft: 1, hard: 2}, nproc: 5}
      extra_hosts: ["h:1.2.3.4"]
      secrets: [s, {source: e, target: ee}]
      ssh: [default, "k=/key"]
      additional_contexts: {b: "service:b.x", l: ./sub, d: "docker-image://alpine"}
      entitlements: [network.host]
      privileged: true
  b.x:
    build: {dockerfile_inline: "FROM alpine\\nENV A=$${A}"}
  c:
    build: "https://example.org/x/y.git#main:dir"
    image: bkc
  h:
    build: {context: ./sub, platforms: [linux/amd64, linux/arm64]}
    image: r/h
  i:
    build: {context: ., provenance: mode=max, sbom: true}
  j:
    build: {context: ., provenance: false, sbom: generator=x}
secrets: {s: {file: ./sec}, e: {environment: EV}}
"""


def test_every_key(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / "sec").write_text("")
    environ = {"EV": "secret", "N": "n"}
    desired = translate(load(LoadOptions(files=(str(tmp_path / "compose.yaml"),), environ=environ)))
    builds = [(one, one.build) for one in desired.services.values() if one.build]
    found = bake_file(builds, push=["a", "h"])
    assert sorted(found["group"]["default"]["targets"]) == list(found["target"]) == ["a", "b_x", "c", "h", "i", "j"]
    assert found["target"].pop("i")["attest"] == ["type=provenance,mode=max", "type=sbom"]
    assert found["target"].pop("j")["attest"] == ["type=sbom,generator=x"]
    labels = {"com.docker.compose.project": "bk", "com.docker.compose.version": "5.8.0"}
    assert found["target"] == {
        "a": {
            "context": f"{tmp_path}",
            "contexts": {"b": "target:b_x", "d": "docker-image://alpine", "l": f"{tmp_path}/sub"},
            "dockerfile": f"{tmp_path}/sub/Dockerfile",
            "args": {"N": "n", "X": "1", "Z": "a$${b}"},
            "labels": {**labels, "com.docker.compose.service": "a", "l": "v"},
            "tags": ["t1", "t2:3", "bk-a:1"],
            "cache-from": ["t1", "type=local,src=/x"],
            "cache-to": ["type=inline"],
            "target": "tgt",
            "secret": [f"id=s,type=file,src={tmp_path}/sec", "id=ee,type=env,env=EV"],
            "ssh": ["default=", "k=/key"],
            "platforms": ["linux/amd64"],
            "pull": True,
            "no-cache": True,
            "network": "host",
            "no-cache-filter": ["s1"],
            "shm-size": "67108864",
            "ulimits": ["nofile=1:2", "nproc=5"],
            "entitlements": ["network.host", "security.insecure"],
            "extra-hosts": {"h": "1.2.3.4"},
            "output": ["type=registry"],
        },
        "b_x": {
            "context": f"{tmp_path}",
            "dockerfile-inline": "FROM alpine\nENV A=$${A}",
            "labels": {**labels, "com.docker.compose.service": "b.x"},
            "tags": ["bk-b.x"],
            "output": ["type=docker"],
        },
        "c": {
            "context": "https://example.org/x/y.git#main:dir",
            "dockerfile": "Dockerfile",
            "labels": {**labels, "com.docker.compose.service": "c"},
            "tags": ["bkc"],
            "output": ["type=docker"],
        },
        "h": {
            "context": f"{tmp_path}/sub",
            "dockerfile": f"{tmp_path}/sub/Dockerfile",
            "labels": {**labels, "com.docker.compose.service": "h"},
            "tags": ["r/h"],
            "platforms": ["linux/amd64", "linux/arm64"],
            "output": ["type=image,push=true"],
        },
    }
    checked = bake_file(builds, check=True)["target"]
    assert all(one["call"] == "lint" and "output" not in one for one in checked.values())


def test_names_do_not_collide() -> None:
    assert target_names(["a_b", "a.b", "c"]) == {"a.b": "a_b", "a_b": "a_b_", "c": "c"}
