"""The whole conformance corpus, if it is beside the repository: our answers equal Docker Compose's."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from composer.cli.render.layout import to_json
from composer.load.errors import LoadError
from composer.load.project import LoadOptions, load_tree

CORPUS = (Path(__file__).parents[3] / "shared" / "corpus").resolve()
GOLDEN = json.loads((CORPUS / "golden-5.json").read_text()) if (CORPUS / "golden-5.json").exists() else []


def bare(value: Any) -> Any:
    """The value without insignificant parts: empty collections, and nulls in mappings."""
    if isinstance(value, dict):
        entries = ((key, bare(entry)) for key, entry in value.items())
        return {key: entry for key, entry in entries if entry not in (None, {}, [])}
    return [bare(item) for item in value] if isinstance(value, list) else value


def named(message: str) -> set[str]:
    """The subjects of a message: quoted words, and the first keys of paths."""
    words = set(re.findall(r'["\']([^"\'\s]{2,40})["\']', message))
    elements = "services|networks|volumes|configs|secrets|include|models"
    for path in re.findall(rf"\b((?:{elements})(?:\.[\w-]+)+)", message):
        words |= set(path.split(".")[1:3])
    return words


@pytest.mark.skipif(not GOLDEN, reason="the corpus is not beside the repository")
@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['id']}-{case['files'][0]}")
def test_project(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CORPUS / "cases" / case["id"]
    files = tuple(str(folder / name) for name in case["files"])
    monkeypatch.chdir(Path(files[0]).parent)
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    options = LoadOptions(files=files, project_name="golden", environ=environ, resolve_environment=False)
    if case["code"]:
        with pytest.raises(LoadError) as refusal:
            load_tree(options)
        words = named(case["stderr"])
        assert not words or any(word in str(refusal.value) for word in words)
        return
    text = to_json(load_tree(options).tree).replace("$", "$$").replace(str(folder), "{DIR}")
    assert bare(json.loads(text)) == bare(case["json"])
