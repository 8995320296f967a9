"""Projects in folders, as the tests load them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from composer.cli.render.layout import to_json
from composer.load.project import LoadOptions, load_tree

HOME = "/home/golden"


def load(folder: Path, **changes: Any) -> Any:
    """The canonical project of a folder, as parsed JSON; {DIR} is the folder, {CASES} its parent.

    `options.json` in the folder has fields of LoadOptions, and `folder`, the working directory of the command.
    """
    file = folder / "options.json"
    given = {"project_name": "golden"} | (json.loads(file.read_text()) if file.exists() else {}) | changes
    here = folder / given.pop("folder", ".")
    files = given.pop("files", None)
    if files is None:
        files = [name for name in ("compose.yaml", "override.yaml") if (folder / name).exists()]
    lists = {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
    options = LoadOptions(
        **given | lists | {"environ": {"HOME": HOME} | given.get("environ", {}), "files": tuple(files)}
    )
    before = os.getcwd()
    os.chdir(here)
    try:
        tree = load_tree(options).tree
    finally:
        os.chdir(before)
    return json.loads(to_json(tree).replace(str(folder), "{DIR}").replace(str(folder.parent), "{CASES}"))
