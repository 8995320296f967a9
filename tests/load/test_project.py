"""The pipeline as a whole: where it finds a project, what it reads, and its errors."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from composer.load.errors import LoadError, LoadErrors
from composer.load.project import Loaded, LoadOptions, load_tree, project_name
from composer.load.read.sources import NoFileError
from composer.model import Project


def load(folder: Path, text: str, **options: Any) -> Loaded:
    (folder / "compose.yaml").write_text(text)
    given: dict[str, Any] = {"files": (str(folder / "compose.yaml"),), "project_name": "p", "environ": {"HOME": "/h"}}
    return load_tree(LoadOptions(**given | options))


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "My.Shop_2"
    folder.mkdir()
    monkeypatch.chdir(folder)
    file = folder / "compose.yaml"
    file.write_text("services: {a: {image: x}}\n")
    assert project_name(LoadOptions()) == "myshop_2"
    file.write_text("name: ${NAME:-Given}\nservices: {a: {image: x}}\n")
    assert project_name(LoadOptions()) == "given"
    assert project_name(LoadOptions(environ={"NAME": "other"})) == "other"
    assert project_name(LoadOptions(environ={"COMPOSE_PROJECT_NAME": "env"})) == "env"
    assert project_name(LoadOptions(project_name="flag", environ={"COMPOSE_PROJECT_NAME": "env"})) == "flag"
    with pytest.raises(LoadError, match="such as 'noname'"):
        project_name(LoadOptions(project_name="No.Name"))
    with pytest.raises(LoadError, match="invalid project name"):
        project_name(LoadOptions(environ={"COMPOSE_PROJECT_NAME": "_x"}))


def test_a_name_needs_no_valid_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "compose.yaml").write_text("services: {a: {imagee: x}}\nname: n\n")
    assert project_name(LoadOptions()) == "n"


def test_missing_compose_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoFileError, match=r"no configuration file provided: not found\n  write compose.yaml here"):
        load_tree(LoadOptions())


def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Input:
        class buffer:  # as of sys.stdin
            @staticmethod
            def read() -> bytes:
                return b"services: {a: {image: x, build: ./b}}\n"

    monkeypatch.setattr("sys.stdin", Input)
    monkeypatch.chdir(tmp_path)
    loaded = load_tree(LoadOptions(files=("-",), project_name="p"))
    assert loaded.tree["services"]["a"]["build"]["context"] == f"{tmp_path}/b"


def test_inputs_are_all_that_was_read(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("E=1\n")
    (tmp_path / ".env").write_text("V=1\n")
    loaded = load(tmp_path, "services: {a: {image: 'x:${V}${W:-}', env_file: a.env, environment: {X: }}}\n")
    read = {Path(path).name for path, stamp in loaded.inputs.files.items() if stamp}
    assert read == {"compose.yaml", ".env", "a.env"}
    assert {"V": "1", "W": None, "X": None}.items() <= loaded.inputs.variables.items()
    assert loaded.tree["services"]["a"]["image"] == "x:1"
    (tmp_path / ".env").write_text("V=${Y}\nZ\n")
    loaded = load(tmp_path, "services: {a: {image: 'x:${V}'}}\n", environ={"Y": "2"})
    assert {"Y": "2", "Z": None}.items() <= loaded.inputs.variables.items()


def test_independent_errors_are_reported_together(tmp_path: Path) -> None:
    text = "services:\n  web:\n    image: x\n    networks: [fornt]\n    volumes: ['dta:/d']\n  db:\n    depends_on: [wep]\n"
    text += "networks: {front: }\nvolumes: {data: }\n"
    with pytest.raises(LoadErrors) as error:
        load(tmp_path, text)
    file = tmp_path / "compose.yaml"
    assert (
        str(error.value).splitlines()
        == [
            f'{file}:4:16: service "web" refers to undefined network fornt',
            "  did you mean 'front'?",
            f'{file}:5:15: service "web" refers to undefined volume dta',
            "  did you mean 'data'?",
            f"{file}:6:3: service 'db' has neither an image nor a build context specified",
            f'{file}:7:18: service "db" depends on undefined service "wep"',
            "  did you mean 'web'?",
        ]
        or len(error.value.errors) == 4
    )


def test_many_errors_are_cut_short(tmp_path: Path) -> None:
    services = "".join(f"  s{i}: {{image: x, networks: [n{i}]}}\n" for i in range(500))
    with pytest.raises(LoadErrors) as error:
        load(tmp_path, f"services:\n{services}")
    assert len(error.value.errors) == 21
    assert str(error.value).endswith("… and more problems like these")


def test_a_missing_variable_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(LoadError) as error:
        load(tmp_path, "services:\n  a:\n    image: x:${TAG:?say which}\n")
    assert str(error.value) == (
        f"{tmp_path}/compose.yaml:3:5: services.a.image: required variable TAG is missing a value: say which\n"
        "  set TAG in the environment or in .env"
    )
    loaded = load(tmp_path, "services:\n  a:\n    image: x:$TAG\n    command: $TAG\n")
    assert [str(line) for line in loaded.warnings] == [
        f'The "TAG" variable is not set. Defaulting to a blank string. ({tmp_path}/compose.yaml:3:5: services.a.image)'
    ]


CHAIN = "services:\n" + "".join(f"  s{i}: {{extends: s{i + 1}}}\n" for i in range(500)) + "  s500: {image: x}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: {a: {extends: {file: compose.yaml, service: a}}}", "Circular reference"),
        ("include: [compose.yaml]\nservices: {a: {image: x}}", "include cycle"),
        (CHAIN, "chain of more"),
        ("services: {a: {image: x, ports: [" + ",".join(f"'127.0.0.{i}:1-65535:1-65535'" for i in range(9)) + "]}}", "ports"),
        ("include: [/dev/zero]", "not a regular file"),
        ("services: {a: {image: x, env_file: /dev/zero}}", "more than"),
        ("services: {a: {image: x, labels: {a: '" + "${A:-" * 5000 + "}'}}}", "deeper|invalid interpolation"),
        ("services: {a: {image: x, labels: {a: '" + "$A" * 100_000 + "'}}}", "the text has more than 4194304 characters"),
        ("services: {a: {image: x, command: [" + "$A, " * 100_000 + "]}}", "the file has more than 67108864 characters"),
    ],
    ids=["extends-itself", "includes-itself", "extends-chain", "port-ranges", "device", "endless-env", "nested-variables",
         "one-value", "many-values"],
)  # fmt: skip
def test_hostile_projects_are_refused_in_time(tmp_path: Path, text: str, message: str) -> None:
    before = time.process_time()
    with pytest.raises(LoadError, match=message):
        load(tmp_path, text, environ={"A": "x" * 10_000})
    assert time.process_time() - before < 4


@pytest.mark.parametrize("path", ["oci://registry/x"])
def test_files_of_registries_need_an_artifact_reader(tmp_path: Path, path: str) -> None:
    for text in (f"include: ['{path}']\n", f"services: {{a: {{extends: {{file: '{path}', service: b}}}}}}\n"):
        with pytest.raises(LoadError, match="not supported here") as error:
            load(tmp_path, text)
        assert str(error.value).startswith(f"{tmp_path}/compose.yaml:1:")
    with pytest.raises(LoadError, match="not supported here"):
        load_tree(LoadOptions(files=(path,)))


def test_named_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LoadError, match="not a regular file"):
        load(tmp_path, "include: [pipe]\n")
    with pytest.raises(LoadError, match="is a pipe"):
        load(tmp_path, "services: {a: {image: x, env_file: pipe}}\n")


def test_time_is_linear(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        service = "{image: 'x:${T:-1}', ports: ['80'], environment: {A: b}, depends_on: [s0], volumes: ['./a:/a']}"
        text = "services:\n  s0: {image: x}\n" + "".join(f"  s{i}: {service}\n" for i in range(1, count))
        before = time.process_time()
        load(tmp_path, text)
        return time.process_time() - before

    seconds(10)
    few, many = min(seconds(200) for _ in range(3)), seconds(2000)
    assert many < few * 10 * 2.5


def test_long_chains_of_dependencies(tmp_path: Path) -> None:
    services = "".join(f"  s{i}: {{image: x, depends_on: [s{i + 1}]}}\n" for i in range(3000))
    load(tmp_path, f"services:\n{services}  s3000: {{image: x}}\n")
    with pytest.raises(LoadError, match="dependency cycle detected: s0 -> s1 -> "):
        load(tmp_path, f"services:\n{services}  s3000: {{image: x, depends_on: [s0]}}\n")


def test_secrets_of_an_included_project_have_its_own_environment(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".env").write_text(f"PASSWORD={name}\n")
        (tmp_path / name / "compose.yaml").write_text(
            f"services: {{{name}: {{image: x, secrets: [{name}]}}}}\nsecrets: {{{name}: {{environment: PASSWORD}}}}\n"
        )
    text = "include: [one/compose.yaml, two/compose.yaml]\nservices: {a: {image: x}}\n"
    loaded = load(tmp_path, text)
    assert loaded.contents == {("secrets", "one"): "one", ("secrets", "two"): "two"}
    assert "content" not in loaded.tree["secrets"]["one"]
    project = Project.from_loaded(loaded)
    assert [project.secrets[name].content for name in ("one", "two")] == ["one", "two"]
    assert load(tmp_path, text, environ={"PASSWORD": "outer"}).contents == {}


def test_errors_of_single_services_are_deferred(tmp_path: Path) -> None:
    text = "services: {a: {image: x, container_name: same}, b: {image: x, container_name: same}, c: {image: x, env_file: gone}}\n"
    with pytest.raises(LoadError, match="gone not found"):
        load(tmp_path, text)
    loaded = load(tmp_path, text, defer=True)
    assert list(loaded.refused) == ["c"] and "gone not found" in loaded.refused["c"][0]
    assert list(loaded.clashes) == ["b"] and "already in use by service a" in loaded.clashes["b"]["a"]
    assert load(tmp_path, text, services=("a",)).refused == {}


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "wb") as file:
        file.write(b"name: piped\nservices: {a: {image: x}}\n")
    options = LoadOptions(files=(f"/dev/fd/{read}",), project_directory=str(tmp_path))
    assert project_name(options) == "piped"
    loaded = load_tree(options)
    os.close(read)
    assert "a" in loaded.tree["services"] and loaded.inputs.volatile


def test_a_variable_that_an_env_file_lacks_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=1\nB=${A}${NOWHERE}\n")
    text = "services: {a: {image: x, env_file: a.env}}\n"
    loaded = load(tmp_path, text)
    assert [line for line in loaded.warnings if "NOWHERE" in line] and len(loaded.warnings) == 1
    assert load(tmp_path, "x-composer: {silence: all}\n" + text).warnings == []
