"""One file over another: what is replaced, merged or appended, and the resulting origins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from composer.load.errors import LoadError
from composer.load.project import Loaded, LoadOptions, load_tree


def load(folder: Path, **files: str) -> Loaded:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    names = tuple(str(folder / f"{name}.yaml") for name in files)
    return load_tree(LoadOptions(files=names, project_name="p", environ={"HOME": "/h"}))


BASE = "services:\n  a:\n    image: x\n"


@pytest.mark.parametrize(
    ("key", "base", "other", "expected"),
    [
        ("command", "[a, b]", "[c]", ["c"]),
        ("entrypoint", "a b", "''", []),
        ("environment", "{A: 1, B: 2}", "[B=3, C]", {"A": "1", "B": "3", "C": None}),
        ("labels", "[a=1]", "{a: 2, b: }", {"a": "2", "b": ""}),
        ("dns", "1.1.1.1", "[2.2.2.2, 1.1.1.1]", ["1.1.1.1", "2.2.2.2"]),
        ("cap_add", "[A, B]", "[B, C]", ["A", "B", "C"]),
        ("extra_hosts", "['a:1.1.1.1']", "{b: 2.2.2.2}", ["a=1.1.1.1", "b=2.2.2.2"]),
        ("ulimits", "{nofile: 5, nproc: 3}", "{nofile: {soft: 1, hard: 2}}", {"nofile": {"soft": 1, "hard": 2}, "nproc": 3}),
        ("sysctls", "{a: 1}", "[a=2]", {"a": "2"}),
        ("tmpfs", "/a", "[/b, /a]", ["/a", "/b"]),
        ("expose", "[80]", "['80', 81]", ["80", "81"]),
        ("logging", "{driver: j, options: {a: b}}", "{options: {c: d}}", {"driver": "j", "options": {"a": "b", "c": "d"}}),
        ("logging", "{driver: j, options: {a: b}}", "{driver: k}", {"driver": "k"}),
        ("healthcheck", "{test: a, retries: 3}", "{test: [CMD, b]}", {"test": ["CMD", "b"], "retries": 3}),
    ],
)  # fmt: skip
def test_keys(tmp_path: Path, key: str, base: str, other: str, expected: Any) -> None:
    over = f"services:\n  a:\n    {key}: {other}\n"
    loaded = load(tmp_path, compose=f"{BASE}    {key}: {base}\n", over=over)
    assert loaded.tree["services"]["a"][key] == expected


def test_volumes_and_ports_have_one_entry_for_a_target(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        compose=BASE + "    volumes: ['./a:/x', './b:/y']\n    ports: ['80:80', '81:81']\n",
        over="services:\n  a:\n    volumes: ['./c:/x']\n    ports: ['80:80', '82:82']\n",
    )
    service = loaded.tree["services"]["a"]
    assert [(v["source"], v["target"]) for v in service["volumes"]] == [
        (f"{tmp_path}/c", "/x"),
        (f"{tmp_path}/b", "/y"),
    ]
    assert [p["published"] for p in service["ports"]] == ["80", "81", "82"]


def test_origins_tell_what_they_replaced(tmp_path: Path) -> None:
    loaded = load(tmp_path, compose=BASE, over="services:\n  a:\n    image: y\n    command: c\n")
    image = loaded.origin(("services", "a", "image"))
    assert image is not None
    assert (str(image), image.layer) == (f"{tmp_path}/over.yaml:3:5", "override")
    assert str(image.overrode) == f"{tmp_path}/compose.yaml:3:5"
    assert loaded.where(("services", "a", "command")) == f"{tmp_path}/over.yaml:4:5"
    assert loaded.where(("services", "a", "environment")) == f"{tmp_path}/over.yaml:2:3"


def test_origins_survive_extends_and_include(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("services:\n  base:\n    image: x\n    labels:\n      a: b\n")
    (tmp_path / "inc.yaml").write_text("services:\n  inc:\n    image: y\n")
    loaded = load(
        tmp_path,
        compose="include: [inc.yaml]\nservices:\n  a:\n    extends: {file: base.yaml, service: base}\n    command: c\n",
    )
    labels = loaded.origin(("services", "a", "labels"))
    assert labels is not None
    assert (str(labels), labels.layer) == (f"{tmp_path}/base.yaml:4:5", "extends")
    assert loaded.where(("services", "a", "labels", "a")) == f"{tmp_path}/base.yaml:5:7"
    included = loaded.origin(("services", "inc", "image"))
    assert included is not None
    assert (str(included), included.layer) == (f"{tmp_path}/inc.yaml:3:5", "include")


def test_incompatible_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError) as error:
        load(tmp_path, compose=BASE + "    deploy: {replicas: 1}\n", over="services:\n  a:\n    deploy: [x]\n")
    assert str(error.value) == (
        f"{tmp_path}/over.yaml:3:5: cannot override services.a.deploy: a mapping (at {tmp_path}/compose.yaml:4:5) "
        "with a sequence"
    )
