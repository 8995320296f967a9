"""The engine's specifications and records, as frozen msgspec structures that are encoded as JSON.

These modules import none of our other modules. Sizes are bytes, durations seconds, unless a docstring says otherwise.
Annotations are evaluated where they stand (no `from __future__ import annotations`): msgspec would have to compile each
from its text, which would slow down every command.
"""

import sys
from types import SimpleNamespace

# What msgspec imports, and could do without, every command would pay for: it prefers typing_extensions to typing (9 ms), and
# before Python 3.12 uuid asks platform for the name of this system (1 ms).
_CHEAPER = {"typing_extensions": None, "platform": SimpleNamespace(system=lambda: "Linux")}

_absent = [name for name in _CHEAPER if name not in sys.modules]
sys.modules.update({name: _CHEAPER[name] for name in _absent})  # type: ignore[misc]
try:
    import msgspec  # noqa: F401
finally:
    for _name in _absent:
        del sys.modules[_name]
