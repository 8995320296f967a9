import os
import subprocess
import sys
from pathlib import Path

import pytest

from composer.cli.project.cache import _PARTS, KEPT, Cache, Entry, now
from composer.load.project import LoadOptions
from composer.load.stamp import stamp
from composer.plan.desired import Desired

TOP = Path(__file__).resolve().parents[2]
DESIRED = Desired(project="demo", order=("a",))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return str(tmp_path / "cache")


def cache(folder, environ=(), **options):
    return Cache(folder, LoadOptions(environ=dict(environ), **options))


def aged(path, text="x"):
    """A file that was written long ago."""
    path.write_text(text)
    os.utime(path, ns=(10**18, 10**18))
    return str(path)


def put(one, files=(), variables=(), warnings=()):
    stamps = {path: stamp(path) for path in files}
    one.put(
        Entry(
            key=one.key,
            desired=DESIRED,
            written=now(),
            files=stamps,
            variables=dict(variables),
            warnings=list(warnings),
        )
    )


def test_stored_entry_is_found(folder, tmp_path):
    put(cache(folder), [aged(tmp_path / "compose.yaml")], warnings=["careful"])
    entry = cache(folder).find()
    assert entry.desired == DESIRED
    assert entry.warnings == ["careful"]


def test_empty_cache(folder):
    assert cache(folder).find() is None


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text("xy"),
        lambda path: path.unlink(),
        lambda path: os.utime(path, ns=(2 * 10**18, 2 * 10**18)),
        lambda path: aged(path.with_suffix(".new")) and os.replace(path.with_suffix(".new"), path),
    ],
    ids=["content", "gone", "time", "replaced"],
)
def test_a_changed_file(folder, tmp_path, change):
    path = tmp_path / "compose.yaml"
    put(cache(folder), [aged(path)])
    change(path)
    assert cache(folder).find() is None


def test_created_file_invalidates_entry(folder, tmp_path):
    put(cache(folder), [str(tmp_path / "compose.override.yaml")])
    assert cache(folder).find() is not None
    aged(tmp_path / "compose.override.yaml")
    assert cache(folder).find() is None


def test_recently_written_file_is_not_cached(folder, tmp_path):
    path = tmp_path / "compose.yaml"
    path.write_text("x")
    put(cache(folder), [str(path)])
    assert cache(folder).find() is None


@pytest.mark.parametrize(("before", "after"), [({}, {"TAG": "1"}), ({"TAG": "1"}, {"TAG": "2"}), ({"TAG": "1"}, {})])
def test_a_used_variable(folder, before, after):
    put(cache(folder, before), variables={"TAG": before.get("TAG")})
    assert cache(folder, before).find() is not None
    assert cache(folder, {**before, "OTHER": "1"}).find() is not None
    assert cache(folder, after).find() is None


@pytest.mark.parametrize(
    "other",
    [
        {"files": ("other.yaml",)}, {"profiles": ("a",)}, {"project_name": "b"}, {"project_directory": "/"},
        {"env_files": ("a",)}, {"services": ("web",)}, {"environ": {"COMPOSE_PROFILES": "a"}}, {"environ": {"HOME": "/"}},
    ],
    ids=str,
)  # fmt: skip
def test_entry_depends_on_options(folder, other):
    put(cache(folder))
    assert cache(folder, **other).find() is None


def test_entry_depends_on_folder(folder, tmp_path, monkeypatch):
    put(cache(folder))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cache(folder).find() is None


def test_damaged_entry_is_ignored(folder, tmp_path):
    put(cache(folder), [aged(tmp_path / "compose.yaml")])
    (path,) = Path(folder).iterdir()
    for text in ("", "{", "[]", '{"desired":{}}'):
        path.write_text(text)
        assert cache(folder).find() is None


def test_file_is_private(folder):
    put(cache(folder))
    (path,) = Path(folder).iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert Path(folder).stat().st_mode & 0o777 == 0o700


def test_unwritable_cache_is_not_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    put(cache(str(tmp_path / "file" / "cache")))


def test_old_entries_are_removed(folder):
    for number in range(KEPT + 5):
        put(cache(folder, project_name=f"p{number}"))
    assert len(os.listdir(folder)) == KEPT
    assert cache(folder, project_name=f"p{KEPT + 4}").find() is not None


def test_a_hit_imports_nothing_heavy_and_is_quick(folder, tmp_path):
    path = aged(tmp_path / "compose.yaml")
    put(cache(folder, {}), [path])
    code = (
        "import sys, time, msgspec\n"
        "from engine.spec import container, image, network\n"
        "begun = time.process_time()\n"
        "from composer.cli.project.cache import Cache\n"
        "from composer.load.project import LoadOptions\n"
        f"assert Cache({folder!r}, LoadOptions(environ={{}})).find()\n"
        "print(time.process_time() - begun, *sys.modules)\n"
    )
    seconds = []
    for _ in range(3):
        environ = {"PYTHONPATH": str(TOP)}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
        spent, *modules = done.stdout.split()
        assert not {name.split(".")[0] for name in modules} & {"yaml", "pydantic", "networkx", "anyio", "asyncio"}
        seconds.append(float(spent))
    assert min(seconds) < 0.04


def test_an_entry_depends_on_all_code_that_reads_files():
    """Every directory below load, model and plan is part of the program's version, and so are modules that they share."""
    files = (path for part in ("load", "model", "plan") for path in (TOP / "composer" / part).rglob("*.py"))
    assert {str(path.parent.relative_to(TOP / "composer")) for path in files} | {"."} == set(_PARTS)
