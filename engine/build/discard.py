"""Removes drafts of layers that turned out to exist, in the background, because on a disk that can take longer than the
build.

<state>/layers/.rubbish-<random>    gone soon; what the end of the process leaves, the next build or collection removes
"""

from __future__ import annotations

import contextlib
import os
import threading

from engine.filetree.remove import remove
from engine.image.layers import Draft, LayerStore

_PREFIX = ".rubbish-"


def put(layers: LayerStore, draft: Draft) -> None:
    """Move the draft away, if it still exists, and remove it in the background."""
    path = f"{layers.root}/{_PREFIX}{os.urandom(6).hex()}"
    with contextlib.suppress(FileNotFoundError):
        os.rename(draft.path, path)
        threading.Thread(target=_sweep, args=(layers.root,), name="rubbish", daemon=True).start()


def _sweep(folder: str) -> None:
    """Remove everything there, also from earlier builds. Concurrent sweeps, and the collector, do not interfere."""
    with contextlib.suppress(OSError):  # the collector tries again, and reports the error
        for name in os.listdir(folder):
            if name.startswith(_PREFIX):
                remove(f"{folder}/{name}")
