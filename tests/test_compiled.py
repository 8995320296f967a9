"""The file of compiled modules, in copies of a small part of the program."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
CODE = """
import sys
sys.path.insert(0, {tree!r})
from composer import compiled
{before}
compiled.use()
import composer.part, composer.part.one
print(composer.part.one.VALUE, type(composer.part.one.__loader__).__name__, composer.part.one.__file__, composer.part.__path__)
{more}
compiled.renew()
"""


class Tree:
    def __init__(self, path):
        self.path = path
        for name in ("composer/__init__.py", "composer/compiled.py", "engine/__init__.py", "engine/poll.py"):
            (path / name).parent.mkdir(exist_ok=True)
            shutil.copy(TOP / name, path / name)
        (path / "composer/part").mkdir()
        (path / "composer/part/__init__.py").write_text("")
        self.source = path / "composer/part/one.py"
        self.source.write_text("VALUE = 1\n")
        self.cache = path / f"composer/__pycache__/{sys.implementation.cache_tag}.modules"

    def change(self, value):
        self.source.write_text(f"VALUE = {value}\n")
        later = self.source.stat().st_mtime + 10
        os.utime(self.source, (later, later))  # Python itself does not see changes within a second

    def run(self, *flags, before="", more="", environ=None):
        """The value of the module, and whether it came from the file."""
        code = CODE.format(tree=str(self.path), before=before, more=more)
        done = subprocess.run(
            [sys.executable, *(flags or ("-I",)), "-c", code], capture_output=True, text=True, check=True, env=environ
        )
        value, loader, *places = done.stdout.split()
        assert places == [str(self.source), str([str(self.source.parent)])]
        return int(value), loader == "_Loader"


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_second_process_uses_the_file(tree):
    assert tree.run() == (1, False)
    written = tree.cache.stat()
    assert written.st_mode & 0o777 == 0o644
    assert tree.run() == (1, True)
    found = tree.cache.stat()  # (reading may change the time of access)
    same = (found.st_ino, found.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert same, "written again, though nothing has changed"


def test_modules_that_are_hardly_used_are_loaded_when_used(tree):
    """Rewriting the file inspects every module, but does not load them."""
    tree.run(more="import textwrap")
    late = "assert type(textwrap).__name__ == '_LazyModule'\n"
    used = "assert textwrap.dedent(' a') == 'a' and type(textwrap).__name__ == 'module'\n"
    tree.change(2)
    assert tree.run(more=f"import textwrap\n{late}compiled.renew()\n{late}{used}") == (2, False)


def test_a_low_limit_of_open_files(tree):
    """The file gets a descriptor that the limit does not permit."""
    tree.run()
    before = "import os, resource; resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))\n"
    assert tree.run(before=before) == (1, False)


def test_a_changed_source_is_seen_and_the_file_follows(tree):
    tree.run()
    tree.change(2)
    assert tree.run() == (2, False)
    assert tree.run() == (2, True)


def test_removed_module(tree):
    tree.run()
    tree.source.rename(tree.source.with_name("two.py"))
    with pytest.raises(subprocess.CalledProcessError):
        tree.run()


@pytest.mark.parametrize("keep", [0, 4, 8, 100], ids=str)
def test_a_damaged_file_is_replaced(tree, keep):
    tree.run()
    content = tree.cache.read_bytes()
    tree.cache.write_bytes(content[:keep] + bytes(len(content) - keep) * (keep == 8))
    assert tree.run() == (1, False)
    assert tree.run() == (1, True)


def test_damaged_code_is_read_from_the_source(tree):
    tree.run()
    content = tree.cache.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    tree.cache.write_bytes(content[:begin] + bytes(len(content) - begin))
    value, _ = tree.run()
    assert value == 1


def test_other_interpreters_ignore_the_file(tree):
    tree.run()
    assert tree.run("-I", "-O") == (1, False)


def test_not_used_with_modules_from_elsewhere(tree, tmp_path):
    tree.run()
    other = {"PYTHONPATH": str(tmp_path / "other")}
    assert tree.run("-P", environ=other) == (1, False)
    assert tree.run("-P", environ={"PYTHONPATH": str(tree.path)}) == (1, True)


def test_modules_of_the_current_directory_stay_out(tree, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here/mine.py").write_text("")
    tree.run("-E", more=f"sys.path.insert(0, {str(tmp_path / 'here')!r}); import mine")
    assert b"here/mine.py" not in tree.cache.read_bytes()


def test_no_file_is_written_with_dont_write_bytecode(tree):
    tree.run("-I", "-B")
    assert not tree.cache.exists()


def test_concurrent_writers(tree):
    tree.run()
    code = CODE.format(tree=str(tree.path), before="", more="")
    tree.change(3)
    both = [subprocess.Popen([sys.executable, "-I", "-c", code], stdout=subprocess.PIPE) for _ in range(2)]
    assert all(one.communicate()[0].startswith(b"3 ") and one.returncode == 0 for one in both)
    assert tree.run() == (3, True)
