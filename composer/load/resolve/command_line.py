"""Command lines as text, split into words by the rules that Docker Compose uses (mattn/go-shellwords)."""

from __future__ import annotations

from composer.load.resolve.errors import ShortFormError


def words(line: str) -> list[str]:
    """The words of a command line, as a shell splits it, up to the first unquoted ; & | < or >. Nothing is expanded."""
    splitter = _Splitter(line)
    for character in line:
        if not splitter.take(character):
            break
    return splitter.finish()


class _Splitter:
    def __init__(self, line: str) -> None:
        self.line = line
        self.found: list[str] = []
        self.word: list[str] = []
        self.started = self.escaped = False
        self.quotes: set[str] = set()
        """Open quotes: ' and ", and ` and ( for commands."""

    def take(self, character: str) -> bool:
        """Add a character. False at one that ends the command."""
        if self.escaped:
            self.escaped = False
            self._add({"t": "\t", "n": "\n"}.get(character, character))
        elif character == "\\":
            if "'" in self.quotes:
                self.word.append(character)
            else:
                self.escaped = True
        elif character in " \t\r\n":
            self._space(character)
        elif character in ";&|<>" and not self.quotes:
            if character == ">" and self.word and self.word[0] in tuple("0123456789"):
                self.started = False  # the word is the number of a descriptor: 2>
            return False
        elif not self._quote(character):
            self._add(character)
        return True

    def _add(self, character: str) -> None:
        self.started = True
        self.word.append(character)

    def _space(self, character: str) -> None:
        if self.quotes:
            self.word.append(character)
        elif self.started:
            self.found.append("".join(self.word))
            self.word, self.started = [], False

    def _quote(self, character: str) -> bool:
        """Open or close a quote. False if the character belongs to the word."""
        if character == "`" and not self.quotes & {"'", '"', "("}:
            self.quotes ^= {"`"}
        elif character == ")" and not self.quotes & {"'", '"', "`"}:
            self.quotes ^= {"("}
        elif character == "(" and not self.quotes & {"'", '"', "`"}:
            if "(" in self.quotes or self.word[-1:] != ["$"]:
                raise ShortFormError(f"invalid command line: {self.line!r}; quote the parenthesis or write a list")
            self.quotes.add("(")
            self.word.append(character)
            return True
        elif (character == '"' and not self.quotes & {"'", "("}) or (character == "'" and not self.quotes & {'"', "("}):
            self.started = self.started or character in self.quotes
            self.quotes ^= {character}
            return True
        return False

    def finish(self) -> list[str]:
        """The words. Raises ShortFormError for an open quote."""
        if self.started:
            self.found.append("".join(self.word))
        if self.escaped or self.quotes:
            raise ShortFormError(f"invalid command line: {self.line!r}; unclosed quote or parenthesis")
        return self.found
