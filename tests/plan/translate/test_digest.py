"""The configuration hash: the same for the same service, and different if the container would differ."""

import copy
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from composer.model import Project
from composer.plan.translate import translate
from tests.plan.translate.test_keys import BASE


def desired(tree, **more):
    return translate(Project.parse(tree, **more))


def shuffled(value, chance):
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return [shuffled(item, chance) for item in value] if isinstance(value, list) else value


def test_the_order_of_keys_does_not_count():
    expected = desired(BASE)
    for seed in range(5):
        found = desired(shuffled(BASE, random.Random(seed)))
        assert {n: s.hash for n, s in found.services.items()} == {n: s.hash for n, s in expected.services.items()}
        assert found.services["web"].summary == expected.services["web"].summary


def test_digest_is_stable_across_processes(tmp_path):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE))
    code = (
        "import yaml; from composer.model import Project; from composer.plan.translate import translate;"
        f"print(translate(Project.parse(yaml.safe_load(open({str(tmp_path / 'base.yaml')!r})))).services['web'].hash)"
    )
    environ = {"PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert found.stdout.strip() == desired(BASE).services["web"].hash


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scale", 3), ("build", None), ("depends_on", {}), ("pull_policy", "always"), ("profiles", ["a"]),
        ("develop", None), ("attach", False),
    ],
)  # fmt: skip
def test_digest_ignores_keys_without_effect_on_containers(key, value):
    tree = copy.deepcopy(BASE)
    tree["services"]["web"][key] = value
    assert desired(tree).services["web"].hash == desired(BASE).services["web"].hash


def test_replicas_do_not_count_but_limits_do():
    tree = copy.deepcopy(BASE)
    tree["services"]["db"]["deploy"] = {"replicas": 3}
    assert desired(tree).services["db"].hash == desired(BASE).services["db"].hash
    tree["services"]["db"]["deploy"]["resources"] = {"limits": {"pids": 3}}
    assert desired(tree).services["db"].hash != desired(BASE).services["db"].hash


def test_digest_ignores_other_services():
    tree = copy.deepcopy(BASE)
    tree["services"]["db"]["image"] = "db:2"
    tree["networks"]["default"]["labels"] = {"a": "b"}
    assert desired(tree, working_dir="/elsewhere").services["web"].hash == desired(BASE).services["web"].hash


def test_the_contents_of_copies_count(tmp_path):
    (tmp_path / "key").write_text("one")
    tree = copy.deepcopy(BASE)
    tree["secrets"]["key"]["file"] = str(tmp_path / "key")
    before = desired(tree).services["web"]
    (tmp_path / "key").write_text("two")
    after = desired(tree).services["web"]
    assert before.hash != after.hash
    assert before.summary["secrets_content.key"] != after.summary["secrets_content.key"]


def test_contents_of_bind_mounted_files_do_not_count(tmp_path):
    (tmp_path / "key").write_text("one")
    tree = copy.deepcopy(BASE)
    tree["secrets"]["key"]["file"] = str(tmp_path / "key")
    tree["services"]["web"]["secrets"] = [{"source": "key"}]
    before = desired(tree).services["web"].hash
    (tmp_path / "key").write_text("two")
    assert desired(tree).services["web"].hash == before


def test_the_summary_is_flat_and_shows_no_passwords():
    tree = copy.deepcopy(BASE)
    tree["services"]["web"]["environment"] = {"DB_PASSWORD": "hunter2", "LEVEL": "debug"}
    summary = desired(tree).services["web"].summary
    assert summary["environment.LEVEL"] == "debug"
    assert summary["ports.0.target"] == "80"
    assert summary["command"] == "run"
    assert "hunter2" not in str(summary)
