"""The detach keys of a request; composer.detach has their grammar, and finds them in the input."""

from __future__ import annotations

from composer.detach import parse
from composer.serve.http.errors import BadRequest


def sequence(text: str, name: str = "detach") -> bytes:
    """The keys as bytes; `name` is Docker's word for them in its message. Raises BadRequest."""
    try:
        return parse(text)
    except ValueError:
        raise BadRequest(f"Invalid {name} keys ({text}) provided") from None
