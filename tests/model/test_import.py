"""The cost of loading the models, and its side effects."""

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


def _run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True).stdout


def test_plugins_of_other_packages_are_not_searched_for():
    code = (
        "import sys; from composer.model import Project; Project.parse({'name': 'a', 'services': {'b': {'image': 'c'}}})\n"
        "print(*sys.modules)"
    )
    assert "importlib.metadata" not in _run(code).split()


def test_the_metadata_of_packages_can_be_read_afterwards():
    assert _run("import composer.model; from importlib.metadata import version; print(version('pydantic'))").strip()
