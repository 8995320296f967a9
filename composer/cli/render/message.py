"""The format of warnings and errors on stderr: text, or one JSON object per line with --progress json."""

from __future__ import annotations


def warning_line(text: str, mode: str) -> str:
    """A warning for --progress `mode`, with its newline."""
    if mode != "json":
        return f"warning: {text}\n"
    return json_line({"level": "warning", "msg": text})


def error_line(text: str, mode: str) -> str:
    """The final error of a command, in the same way."""
    return json_line({"error": True, "message": text}) if mode == "json" else f"{text}\n"


def json_line(event: dict[str, object]) -> str:
    """The event without its empty values, as Docker Compose writes it."""
    import json

    return json.dumps({k: v for k, v in event.items() if v != ""}, ensure_ascii=False, separators=(",", ":")) + "\n"
