"""What a caller may ask of the engine, as frozen msgspec structures that travel as JSON.

Leaves: these modules import nothing of ours. Sizes are bytes, durations seconds, unless a docstring says otherwise.
Annotations are evaluated where they stand (no `from __future__ import annotations`): msgspec would have to compile each
from its text, which every command would pay for.
"""

import sys

if "typing_extensions" not in sys.modules:
    # msgspec prefers it to typing, does without, and every command would pay 9 ms for its import.
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules["typing_extensions"]
