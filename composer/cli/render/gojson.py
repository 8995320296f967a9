"""JSON as Go writes it (pkg.go.dev/encoding/json)."""

from __future__ import annotations

import json


def compact(value: object) -> str:
    """JSON as Go marshals it: no spaces, with <, > and & escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
