"""The contents of `pip install .` and of a source archive."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("composer", "engine")
BESIDE = ("README.md", "pyproject.toml")
BUILD = """
import sys
from setuptools import build_meta
folder = sys.argv[1]
build_meta.build_wheel(folder)
build_meta.build_sdist(folder)
"""


def sources():
    found = (path for package in PACKAGES for path in (TOP / package).rglob("*"))
    return {str(path.relative_to(TOP)) for path in found if path.is_file() and "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The wheel and the source archive, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("packaging")
    copy = folder / "copy"
    for package in PACKAGES:
        shutil.copytree(TOP / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BESIDE:
        shutil.copy(TOP / name, copy)
    done = subprocess.run([sys.executable, "-c", BUILD, folder], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


def test_the_wheel_has_every_file_of_the_packages(archives):
    with zipfile.ZipFile(archives[0]) as wheel:
        assert {
            name for name in wheel.namelist() if name.startswith(PACKAGES) and ".dist-info/" not in name
        } == sources()


def test_the_source_archive_has_all_that_a_build_needs(archives):
    with tarfile.open(archives[1]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert not (sources() | set(BESIDE)) - names


def test_installed_it_runs_from_anywhere(archives, tmp_path):
    """Unpacked elsewhere, without access to the sources: the command, and the keeper's program that is run by its
    path."""
    with zipfile.ZipFile(archives[0]) as wheel:
        wheel.extractall(tmp_path / "site")
        entries = next(name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
        assert "composer = composer.cli.main:script" in wheel.read(entries).decode()
    code = "import composer, sys; from composer.cli.main import main; print(composer.__file__); sys.exit(main(['version']))"
    environ = {"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    where, version = done.stdout.splitlines()
    assert where.startswith(str(tmp_path))
    assert version.startswith("Composer version")
    for program in ("engine/keeper/main.py", "engine/rootless/main.py"):
        path = str(tmp_path / "site")
        code = f"import sys, runpy; sys.path.insert(0, {path!r}); runpy.run_path({f'{path}/{program}'!r}, run_name='x')"
        subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, check=True)
