"""Errors of the YAML parser, with their positions and hints."""

from __future__ import annotations

from composer.load.errors import LoadError
from composer.load.tree.nodes import Origin

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from yaml import YAMLError
    from yaml.error import Mark

_ADVICE = {
    "did not find expected key": "is this line indented as those above it?",
    "did not find expected '-' indicator": "is this item indented as those above it?",
    "mapping values are not allowed": "is there a colon at the end of the line above? Quote text that contains ': '",
    "could not find expected ':'": "is there a colon and a space after the key?",
    "found unexpected end of stream": "a quote is not closed",
    "did not find expected ',' or": "a bracket is not closed; inside brackets, quote text that contains a comma or bracket",
    "did not find expected alphabetic or numeric": "quote text that starts with * or &",
}
"""Message of the YAML parser → hint at the likely mistake."""


def syntax_error(error: YAMLError, text: str, file: str) -> LoadError:
    """The parser's error with its position in `file`, and a hint at the likely mistake."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        return _marked(error, mark, text, file)
    position = getattr(error, "position", None)
    if position is None:
        return LoadError(f"not YAML: {error}", Origin(file, 0, 0))
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    character = getattr(error, "character", 0)
    code = character if isinstance(character, int) else ord(character[0])
    return LoadError(f"not YAML: character U+{code:04X} is not allowed", Origin(file, line, column))


def _marked(error: YAMLError, mark: Mark, text: str, file: str) -> LoadError:
    message = getattr(error, "problem", None) or "not YAML"
    context = getattr(error, "context", None)
    began = getattr(error, "context_mark", None)
    if context and began is not None and began.line < mark.line:
        context += f" that begins on line {began.line + 1}"
    message = f"{message} ({context})" if context else message
    hint = next((advice for phrase, advice in _ADVICE.items() if phrase in message), "")
    if "mapping values are not allowed" in message:
        hint = _misplaced_colon(text.split("\n"), mark.line) or hint
    if "cannot start any token" in message:
        found = text.split("\n")[mark.line][mark.column : mark.column + 1]
        hint = "indent with spaces, not with tabs" if found == "\t" else f"quote text that starts with {found}"
    return LoadError(f"not YAML: {message}", Origin(file, mark.line + 1, mark.column + 1), hint)


def _misplaced_colon(lines: list[str], number: int) -> str:
    """A hint for a colon that the parser does not expect on this line."""
    line = lines[number]
    above = next((one for one in reversed(lines[:number]) if one.strip() and not one.lstrip().startswith("#")), "")
    deeper = len(line) - len(line.lstrip()) > len(above) - len(above.lstrip())
    if deeper and ": " in above.strip():
        return "this line is indented deeper than the line above, which has a value already; give both the same indentation"
    if line.rstrip().endswith(":") and ": " in line:
        return "quote text that ends with a colon"
    return ""
