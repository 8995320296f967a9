"""A compose file's text as it is published: only the names of other files change."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from composer.cli.publish.source import read


def name(path: Path, ending: str) -> str:
    return f"{hashlib.sha256(str(path).encode()).hexdigest()}.{ending}"


def test_references_change_and_nothing_else(tmp_path: Path) -> None:
    for file in ("base.yaml", "a.env", "b.env", "c.env"):
        (tmp_path / file).touch()
    a, b, c, lost = (name(tmp_path / file, "env") for file in ("a.env", "b.env", "c.env", "lost.env"))
    base = name(tmp_path / "base.yaml", "yaml")
    text = """# über allem
x-common: &common
  env_file: &here a.env   # one
services:
  web: {<<: *common, extends: {file: './base.yaml', service: web}}
  db:
    env_file:
      - "b.env"  # two
      - {path: $C, required: false}
      - path: lost.env
        required: false
      - *here
    extends:
      file: oci://elsewhere/x
      service: y
    environment: {FILE: a.env}
  same: {extends: {service: db}}
"""
    found = read(str(tmp_path / "compose.yaml"), text.encode(), {"C": "./x/../c.env"})
    assert found.content.decode() == text.replace("&here a.env", f"&here {a}").replace("'./base.yaml'", base).replace(
        '"b.env"', b
    ).replace("$C", c).replace("path: lost.env", f"path: {lost}")
    assert found.extended == {str(tmp_path / "base.yaml"): base}
    assert found.env_files == {
        str(tmp_path / file): name(tmp_path / file, "env") for file in ("a.env", "b.env", "c.env")
    }
    assert not found.included


@pytest.mark.parametrize(
    ("include", "local"),
    [
        ("[a.yaml]", ("a.yaml",)),
        ("[{path: [a.yaml, b.yaml], env_file: x}]", ("a.yaml", "b.yaml")),
        ("[oci://x/y, 'https://example.org/x.git']", ()),
        ("['$REMOTE']", ()),
    ],
)
def test_local_includes(tmp_path: Path, include: str, local: tuple[str, ...]) -> None:
    found = read(str(tmp_path / "compose.yaml"), f"include: {include}\n".encode(), {"REMOTE": "oci://x/y"})
    assert found.included == local
