"""The programs in C: *_program.py matches a build of their sources."""

import importlib.util
import shutil
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
SOURCES = sorted((TOP / "engine").rglob("*.c"))


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILD = loaded(TOP / "scripts/build_programs.py")


def program(source):
    return loaded(source.with_name(f"{source.stem}_program.py"))


def test_there_is_a_program_for_each_source():
    assert SOURCES and SOURCES == sorted(BUILD.ENGINE.rglob("*.c"))
    assert {program(source).PROGRAMS.keys() == BUILD.COMPILERS.keys() for source in SOURCES} == {True}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_a_program_was_made_from_its_source(source):
    assert BUILD.digest(source) == program(source).SOURCE, "run scripts/build_programs.py"


@pytest.mark.parametrize("machine", BUILD.COMPILERS)
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_compiler_gives_the_same_bytes(source, machine):
    tools = BUILD.COMPILERS[machine]
    if not all(map(shutil.which, tools)):
        pytest.skip(f"needs {' and '.join(tools)}")
    found = program(source)
    if BUILD.release(tools[0]) != found.COMPILERS[machine]:
        pytest.skip(f"needs gcc {found.COMPILERS[machine]}")
    assert BUILD.compiled(source, machine, *tools).hex() == found.PROGRAMS[machine]
