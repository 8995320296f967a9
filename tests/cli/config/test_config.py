"""composer config against what docker compose 5.5.1 printed for the same files; golden/<project>/ has its answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from composer.cli.main import main

GOLDEN = Path(__file__).parent / "golden"

WORDS = {
    "config.yaml": [],
    "config.json": ["--format", "json"],
    "no-interpolate.yaml": ["--no-interpolate"],
    "no-normalize.yaml": ["--no-normalize"],
    "no-paths.yaml": ["--no-path-resolution"],
    "services.txt": ["--services"],
    "networks.txt": ["--networks"],
    "volumes.txt": ["--volumes"],
    "models.txt": ["--models"],
    "profiles.txt": ["--profiles"],
    "images.txt": ["--images"],
}
UNORDERED = ("networks.txt", "volumes.txt", "models.txt", "images.txt")
"""Docker Compose prints these in any order."""


@pytest.fixture
def config(monkeypatch, capsys):
    """`composer … config …` in a project's folder; returns standard output, or standard error when it exits with 1."""

    def run(folder, *words, options=(), code=0, **environ):
        monkeypatch.chdir(folder)
        for name in ("COMPOSE_PROJECT_NAME", "COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSER_SILENCE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        ended = main([*options, "config", *words])
        run.out, run.err = capsys.readouterr()
        assert ended == code, run.out + run.err
        return run.err if code else run.out

    return run


@pytest.mark.parametrize("file", WORDS)
@pytest.mark.parametrize("project", sorted(path.name for path in GOLDEN.iterdir()))
def test_output_equals_docker_compose(project, file, config):
    folder = GOLDEN / project
    options = ["-p", "golden", "-f", "compose.yaml", "--profile", "*"]
    out = config(folder, *WORDS[file], options=options, A="1").replace(str(folder), "{DIR}")
    want = (folder / file).read_text()
    if file in UNORDERED:
        out, want = sorted(out.splitlines()), sorted(want.splitlines())
    assert out == want


@pytest.mark.parametrize("project", sorted(path.parent.name for path in GOLDEN.glob("*/hashes.txt")))
def test_hashes_are_docker_composes(project, config):
    folder = GOLDEN / project
    out = config(folder, "--hash", "*", options=["-p", "golden", "-f", "compose.yaml", "--profile", "*"], A="1")
    assert sorted(out.splitlines()) == sorted((folder / "hashes.txt").read_text().splitlines())


def test_services_are_selected_with_what_they_need(config, tmp_path):
    (tmp_path / "compose.yaml").write_text(
        "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x}\n  c: {image: x, volumes: [v:/v]}\nvolumes: {v: }\n"
    )
    assert list(json.loads(config(tmp_path, "--format", "json", "a"))["services"]) == ["a", "b"]
    assert config(tmp_path, "--images", "a") == "x\nx\n"
    assert "no such service: nope" in config(tmp_path, "nope", code=1)
    assert config(tmp_path, "--services", "-q") == "b\na\nc\n" or config.out == "a\nb\nc\n"


def test_variables(config, tmp_path):
    (tmp_path / "compose.yaml").write_text("services: {a: {image: 'x:${TAG:-1}${REG?need}${ON:+on}', command: $$no}}\n")
    assert json.loads(config(tmp_path, "--variables", "--format", "json")) == {
        "ON": {"Name": "ON", "DefaultValue": "", "PresenceValue": "on", "Required": False},
        "REG": {"Name": "REG", "DefaultValue": "", "PresenceValue": "", "Required": True},
        "TAG": {"Name": "TAG", "DefaultValue": "1", "PresenceValue": "", "Required": False},
    }
    assert config(tmp_path, "--variables", "--format", "yaml").startswith(
        "'ON':\n    name: 'ON'\n    defaultvalue: \"\"\n"
    )
    header, *rows = config(tmp_path, "--variables").splitlines()
    assert header == "NAME                REQUIRED            DEFAULT VALUE       ALTERNATE VALUE"
    assert [row.split() for row in rows] == [["ON", "false", "on"], ["REG", "true"], ["TAG", "false", "1"]]
    assert "REG" in config(tmp_path, code=1)
    assert config(tmp_path, "--environment", REG="r").count("REG=r\n") == 1


def test_hash_depends_only_on_its_service(config, tmp_path):
    file = tmp_path / "compose.yaml"
    file.write_text("services: {a: {image: x}, b: {image: y}}\n")
    before = dict(line.split() for line in config(tmp_path, "--hash", "*").splitlines())
    file.write_text("services: {b: {image: z}, a: {image: x}}\n")
    after = dict(line.split() for line in config(tmp_path, "--hash", "a,b").splitlines())
    assert before["a"] == after["a"] and before["b"] != after["b"] and len(before["a"]) == 64
    assert "no such service: nope" in config(tmp_path, "--hash", "nope", code=1)


def test_output_quiet_and_formats(config, tmp_path):
    (tmp_path / "compose.yaml").write_text("name: t\nservices: {a: {image: x}}\n")
    assert config(tmp_path, "-q") == config(tmp_path, "-o", "out.yaml") == ""
    assert (tmp_path / "out.yaml").read_text() == config(tmp_path)
    assert 'unsupported format "xml"' in config(tmp_path, "--format", "xml", code=1)
    assert config(tmp_path, "--lock-image-digests", code=1).startswith("no answer from registry")


def test_warnings_can_be_silenced_and_made_errors(config, tmp_path):
    file = tmp_path / "compose.yaml"
    text = "version: '3'\nservices: {a: {image: 'x:$TAG', ports: ['80:80'], environment: {DB_PASSWORD: x, TOKEN: '$TAG'}}}\n"
    file.write_text(text)
    config(tmp_path)
    assert config.err.count("warning: ") == 2 and "`version` is obsolete" in config.err and '"TAG"' in config.err
    said = config(tmp_path, "--strict", code=1)
    assert "5 warnings" in said and "[published-everywhere]" in said and "[secret-in-environment]" in said
    assert config(tmp_path, "--strict", "-q", COMPOSER_SILENCE="all") == "" and config.err == ""
    file.write_text(
        f"{text}x-composer: {{silence: [obsolete-version, unset-variable, published-everywhere, secret-in-environmen]}}\n"
    )
    said = config(tmp_path, "--strict", code=1, COMPOSER_SILENCE="")
    assert "3 warnings" in said and "did you mean 'secret-in-environment'" in said
    file.write_text(
        "services: {a: {image: postgres}, b: {image: 'r:5000/p'}, c: {image: 'p:1'}, d: {build: ., image: p}}\n"
    )
    assert config(tmp_path, "--strict", code=1).count("[latest-tag]") == 2


def test_explain_says_what_waits_for_what(config, tmp_path):
    (tmp_path / "compose.yaml").write_text(
        "services:\n  web: {image: 'a:1', depends_on: {db: {condition: service_healthy}}}\n  db: {image: 'b:1'}\n"
    )
    text = config(tmp_path, "--explain")
    assert "1  db\n2  web  waits for db (service_healthy)\nlongest chain: db → web\n" in text
    assert "Start order" not in config(tmp_path, "--explain", "web")


def test_explain(config, tmp_path):
    (tmp_path / "compose.yaml").write_text(
        "services:\n  web:\n    image: nginx:1.25\n    ports: ['80:80']\n    env_file: e.env\n"
    )
    (tmp_path / "compose.override.yaml").write_text(
        "services:\n  web:\n    image: nginx:${TAG}\n    command: ${IN_FILE}\n"
    )
    (tmp_path / ".env").write_text("# tags\nTAG=1.27\n")
    (tmp_path / "e.env").write_text("IN_FILE=1\n")
    lines = [line.split() for line in config(tmp_path, "--explain").splitlines()]
    assert ["services.web.image", "=", "nginx:1.27", "compose.override.yaml:3:5", "(override)"] in lines
    assert ["replaced", "compose.yaml:3:5:", "image:", "nginx:1.25"] in lines
    assert ["services.web.ports[0].target", "=", "80", "compose.yaml:4:13"] in lines
    assert ["services.web.environment.IN_FILE", "=", "1", "e.env:1:1"] in lines
    assert ["TAG", "=", "1.27", ".env:2:1"] in lines and ["IN_FILE", "not", "set"] in lines
    assert any(line[:2] == ["e.env:1:1", "sets"] for line in lines)
    assert "[published-everywhere]" in config.out
    assert (
        config(tmp_path, "--explain", "web.image").startswith("services.web.image = nginx:1.27")
        and "ports" not in config.out
    )
    (port,) = [v for v in json.loads(config(tmp_path, "--explain", "--format", "json"))["values"] if v["value"] == "80"]
    assert (port["path"], port["line"]) == ("services.web.ports[0].published", 4)
    assert "did you mean services.web.image?" in config(tmp_path, "--explain", "web.imag", code=1)
    assert config(tmp_path, "--explain", TAG="7").count("environment\n") == 1
    assert config(tmp_path, "--explain", "-o", "told", "web.image") == config(tmp_path, "--explain", "-q") == ""
    assert (tmp_path / "told").read_text().startswith("services.web.image = ")
    assert "services.web.image = nginx:${TAG}" in config(tmp_path, "--explain", "--no-interpolate")
    assert "no service, resource or variable of this project is called ..." in config(
        tmp_path, "--explain", "...", code=1
    )


def test_images_are_pinned_to_what_their_registry_has(config, tmp_path, registry, roots):
    from engine.image.images import ImageStore
    from engine.registry import push
    from engine.store import Store

    store = Store(roots)
    images = ImageStore(store)
    reference = f"{registry}/busy/box:1"
    images.tag(images.need("busybox").id, reference)
    digest = push(reference, images=images)
    images.remove(reference)
    store.close()
    (tmp_path / "compose.yaml").write_text(
        f"name: p\nservices: {{a: {{image: '{reference}', command: x}}, b: {{build: .}}}}\n"
    )
    pinned = f"{reference}@{digest}"
    assert (
        json.loads(config(tmp_path, "--resolve-image-digests", "--format", "json"))["services"]["a"]["image"] == pinned
    )
    assert config(tmp_path, "--lock-image-digests") == f"services:\n  a:\n    image: {pinned}\n  b: {{}}\n"
    (tmp_path / "compose.yaml").write_text(f"services: {{a: {{image: '{registry}/busy/nobox'}}}}\n")
    assert "nobox" in config(tmp_path, "--resolve-image-digests", code=1)


def test_hashes_need_only_the_files_of_the_services_asked_for(config, tmp_path):
    (tmp_path / "compose.yaml").write_text(
        "services:\n  bare: {image: alpine}\n  dep: {image: alpine, depends_on: [lost]}\n"
        "  lost: {image: alpine, env_file: [/nowhere/lost.env]}\n  off: {image: alpine, profiles: [p]}\n"
    )
    assert config(tmp_path, "--hash", "bare,dep").startswith("bare ")
    for asked in ("lost", "*"):
        assert "env file /nowhere/lost.env not found" in config(tmp_path, "--hash", asked, code=1)
    # as docker compose 2.40 prints it, which reads no env file
    unread = "lost 37a3d3830a6f55d7a946d7eec9cc2a6292487d1da6600dae3495c8f9f022b5b7\n"
    assert config(tmp_path, "--no-env-resolution", "--hash", "lost") == unread
    assert "no such service: off: disabled" in config(tmp_path, "--hash", "off", code=1)


@pytest.mark.parametrize("flag", ["--no-interpolate", "--variables"])
def test_a_selection_without_effect_is_warned_of(config, tmp_path, flag):
    (tmp_path / "compose.yaml").write_text("services: {a: {image: '$STONE'}, b: {image: '$WOOD'}}\n")
    assert "STONE" in config(tmp_path, flag, "b")
    assert config.err.startswith(f"warning: service filtering is not applied when {flag} is set, ")


def test_services_without_image_print_none(config, tmp_path):
    (tmp_path / "compose.yaml").write_text(
        "services: {a: {image: x}, b: {provider: {type: cloud}}, c: {provider: {type: cloud}, image: y}, d: {build: .}}\n"
    )
    assert [line.rpartition("-")[2] for line in config(tmp_path, "--images").splitlines()] == ["x", "y", "d"]


def test_images_include_those_of_jobs(config, tmp_path):
    (tmp_path / "compose.yaml").write_text(
        """
        services: {web: {image: z}}
        jobs:
          seed: {image: a, triggers: {manual: true}}
          off: {image: b, triggers: {manual: true}, profiles: [never]}
          made: {build: ., triggers: {schedule: ["0 2 * * *"]}}
        """
    )
    assert config(tmp_path, "--images") == f"z\n{tmp_path.name.lower()}-made\na\n"
    assert config(tmp_path, "--images", "web") == "z\n"
    assert config(tmp_path, "--profiles") == "never\n"


@pytest.mark.parametrize("value", ["", "[$X]", "5"])
def test_variables_of_a_service_that_is_no_mapping(config, tmp_path, value):
    (tmp_path / "compose.yaml").write_text(f"services: {{a: {value}}}\n")
    config(tmp_path, "--variables")


def test_variables_of_an_invalid_file(config, tmp_path):
    (tmp_path / "compose.yaml").write_text("services: {a: {image: '$X', portz: '${P:-1}'}}\n")
    assert "portz" in config(tmp_path, "-q", code=1)
    assert [line.split()[0] for line in config(tmp_path, "--variables").splitlines()] == ["NAME", "P", "X"]


def test_lists_without_interpolation_follow_profiles_and_use(config, tmp_path):
    (tmp_path / "compose.yaml").write_text(
        "services:\n  a: {image: 'x:${T:-1}', environment: [X], volumes: ['v1:/x']}\n"
        "  b: {image: z, profiles: [p], volumes: ['v2:/x']}\nvolumes: {v1: , v2: , v3: }\nnetworks: {n: }\n"
    )
    assert config(tmp_path, "--no-interpolate", "--volumes") == "v1\n"
    assert config(tmp_path, "--no-interpolate", "--networks") == "default\n"
    assert config(tmp_path, "--no-interpolate", "--images") == "x:${T:-1}\n"
    one, other = (config(tmp_path, "--no-interpolate", "--hash", "*", X=value) for value in "12")
    assert one != other and [line.split()[0] for line in one.splitlines()] == ["a"]
    assert "X=5\n" in config(tmp_path, "--no-interpolate", "--environment", X="5")
    assert "no such service: nope" in config(tmp_path, "--no-interpolate", "--images", "nope", code=1)


def test_lists_without_interpolation_accept_variables_for_numbers(config, tmp_path):
    (tmp_path / "compose.yaml").write_text(
        "services: {a: {image: x, ports: ['${P}:80'], scale: '${N}', volumes: ['v:/v']}}\nvolumes: {v: }\n"
    )
    assert config(tmp_path, "--no-interpolate", "--volumes") == "v\n"
    assert config(tmp_path, "--no-interpolate", "--images") == "x\n"


def test_the_hash_contains_label_files_and_their_paths(config, tmp_path):
    def digest(text):
        (tmp_path / "compose.yaml").write_text(f"services: {{a: {{image: busybox, {text}}}}}\n")
        return config(tmp_path, "--hash", "a")

    (tmp_path / "a.labels").write_text("A=1\n")
    (tmp_path / "b.labels").write_text("A=1\n")
    one, other = digest("label_file: a.labels"), digest("label_file: b.labels")
    assert len({one, other, digest("labels: {A: '1'}")}) == 3
    assert one == digest("label_file: [./a.labels]")
    (tmp_path / "a.labels").write_text("A=2\n")
    assert digest("label_file: a.labels") != one
