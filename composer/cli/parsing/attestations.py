"""--attest, --provenance and --sbom of a build."""

from __future__ import annotations

import csv

from composer.cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.parsing.flags import Args


def options(args: Args) -> tuple[str, str]:
    """The options for provenance and SBOM, "" for none. Raises UsageError."""
    found = {"provenance": "", "sbom": ""}
    for text in args.attest:
        words = [word.partition("=") for word in next(csv.reader([text]), [])]
        kind = next((value for key, _, value in words if key == "type"), "")
        if kind not in found:
            raise UsageError(f"invalid value {text}: --attest needs type=provenance or type=sbom")
        found[kind] = ",".join("".join(word) for word in words if word[0] != "type") or "true"
    for kind in found:
        if kind in args.given:
            found[kind] = getattr(args, kind) or "true"
    return found["provenance"], found["sbom"]
