"""Each folder of tests/compose_files: a project, and its loaded form (result.json) or the error (error.txt).

The results were compared with Docker Compose 2.40, and with 5.5 where that differs.
`UPDATE=1 pytest tests/load/test_cases.py` rewrites the results; check the changes with git.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from composer.load.errors import LoadError
from tests.load.projects import load

CASES = sorted(path for path in (Path(__file__).parents[1] / "compose_files").iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_case(folder: Path) -> None:
    result, refusal = folder / "result.json", folder / "error.txt"
    try:
        found = load(folder)
    except LoadError as error:
        text = str(error).replace(str(folder), "{DIR}") + "\n"
        if os.environ.get("UPDATE"):
            refusal.write_text(text)
        assert not result.exists(), f"refused: {text}"
        assert text == refusal.read_text()
        return
    if os.environ.get("UPDATE"):
        result.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert not refusal.exists(), "accepted"
    assert found == json.loads(result.read_text())
