"""Whole projects, from their files to the desired state. A case is a folder with compose.yaml and desired.json, in
which {DIR} is the folder; UPDATE_DESIRED=1 rewrites desired.json."""

import difflib
import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from composer.load.project import LoadOptions, load
from composer.plan import labels
from composer.plan.translate import translate

CASES = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("*/compose.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_desired(case, tmp_path):
    folder = tmp_path / "demo"
    shutil.copytree(case, folder)
    desired = translate(
        load(LoadOptions(project_directory=str(folder), files=(str(folder / "compose.yaml"),), environ={}))
    )
    plain = msgspec.to_builtins(desired)
    for service in plain["services"].values():  # hashes of paths, which test_digest.py covers
        del service["hash"], service["container"]["labels"][labels.HASH]
    found = json.dumps(plain, indent=1, ensure_ascii=False).replace(str(folder), "{DIR}") + "\n"
    expected = case / "desired.json"
    if os.environ.get("UPDATE_DESIRED"):
        expected.write_text(found)
    difference = difflib.unified_diff(expected.read_text().splitlines(), found.splitlines(), lineterm="", n=2)
    assert not (lines := "\n".join(difference)), lines
