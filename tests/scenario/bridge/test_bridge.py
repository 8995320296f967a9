"""Projects converted to other models (`bridge`), as graphs, and generated from existing containers (`alpha`)."""

import json

import pytest
import yaml

TRANSFORMER = """
services:
  it:
    image: transformer
    build:
      labels: {com.docker.compose.bridge: transformation}
      dockerfile_inline: |
        FROM busybox
        RUN mkdir /templates; echo rule > /templates/one.tmpl
        CMD ["sh", "-c", "cp /in/compose.yaml /out/model.yaml; ls /templates > /out/templates; exit ${CODE:-0}"]
"""


@pytest.fixture
def transformer(composer):
    composer.write({"other/compose.yaml": TRANSFORMER})
    composer("-f", "other/compose.yaml", "build")
    yield "transformer"
    composer("image", "rm", "transformer")


def test_a_project_is_converted(composer, transformer):
    composer.write({"out/stale": "", "mine/two.tmpl": ""})
    composer("bridge", "convert", "-t", transformer, "--templates", "mine")
    assert sorted(path.name for path in (composer.folder / "out").iterdir()) == ["model.yaml", "templates"]
    model = yaml.safe_load((composer.folder / "out/model.yaml").read_text())
    assert model["services"]["web"]["expose"] == ["81", "82"]
    assert model["secrets"]["words"]["content"] == "secret $$words\n"
    assert (composer.folder / "out/templates").read_text() == "two.tmpl\n"
    assert composer("bridge", "transformations", "ls", "-q").out == "transformer:latest\n"
    (one,) = json.loads(composer("bridge", "transformations", "list", "--format", "json").out)
    assert one["RepoTags"] == ["transformer:latest"]


def test_containers_that_are_not_replaced(composer, transformer):
    for output in (".", "..", "/"):
        assert (
            "the current folder is in it" in composer("bridge", "convert", "-t", transformer, "-o", output, code=1).err
        )
    assert "it is not a directory" in composer("bridge", "convert", "-t", transformer, "-o", "words.txt", code=1).err
    assert "no such directory" in composer("bridge", "convert", "-t", transformer, "--templates", "nope", code=1).err


def test_a_transformation_of_ones_own(composer, transformer):
    composer("bridge", "transformations", "create", "--from", transformer, "own")
    assert (composer.folder / "own/templates/one.tmpl").read_text() == "rule\n"
    assert "com.docker.compose.bridge=transformation" in (composer.folder / "own/Dockerfile").read_text()
    assert "already exists" in composer("bridge", "transformations", "create", "-f", transformer, "own", code=1).err


def test_graph(composer):
    done = composer("alpha", "viz", "--networks", "--ports", "--spaces", "--indentation-size", "2")
    assert '  "web" -> "db";\n' in done.out and "<b>Ports:</b><br/>:81 (tcp, ingress)" in done.out
    assert "<b>Networks:</b><br/>default</font>" in done.out


def test_compose_file_from_containers(composer):
    composer("up", "-d", "--scale", "db=2")
    name = composer.name
    text = composer("alpha", "generate", "--name", "copy", f"{name}-web-1", f"{name}-db-1", f"{name}-db-2").out
    project = yaml.safe_load(text)
    assert project["name"] == "copy" and project["services"]["db"]["scale"] == 2
    assert project["services"]["db"]["environment"] == {"TOWN": "Trier"}
    assert project["services"]["web"]["command"] == ["sleep", "1000"]
    assert not project["services"]["web"].get("labels") and f"{name}_data" in project["volumes"]
    composer.write({"copy.yaml": text})
    composer("-f", "copy.yaml", "config", "-q")
    assert "at least one container" in composer("alpha", "generate", code=1).err
    assert "nope" in composer("alpha", "generate", "nope", code=1).err
    composer("down", "-v", "-t", "0")


def test_dry_run(composer):
    assert "DRY-RUN MODE" in composer("alpha", "dry-run", "--", "up", "-d").err
    assert not composer.ps("-a")
