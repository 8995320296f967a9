"""The file of `image build --metadata-file` (buildx, "docker buildx build")."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from composer.cli.errors import UsageError
from composer.cli.project import image_outputs
from composer.view.images import spelled_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from composer.cli.project.context import Context
    from engine.spec.image import ImageRecord

PROVENANCE, WARNINGS = "BUILDX_METADATA_PROVENANCE", "BUILDX_METADATA_WARNINGS"
_NONE = ("disabled", "0", "f", "false")


def check(environ: Mapping[str, str]) -> None:
    """Raises UsageError for a wrong setting, before a build begins."""
    _mode(environ)


def _mode(environ: Mapping[str, str]) -> str:
    """How much provenance to write: min, max, or "" for none."""
    mode = environ.get(PROVENANCE, "min").lower()
    if mode not in ("min", "max", *_NONE):
        raise UsageError(f"{PROVENANCE}={mode}: expected min, max or disabled")
    return "" if mode in _NONE else mode


def write(context: Context, path: str, ref: str, record: ImageRecord, tags: Sequence[str]) -> None:
    """Write the description of the build `ref` and its image; `tags` as the user gave them. Raises CommandError."""
    found: dict[str, object] = {
        "buildx.build.ref": f"default/default/{ref}",
        "containerimage.config.digest": record.id,
        "containerimage.digest": record.id,
        **(_attested(context, record) or _provenance(context, ref)),
    }
    if tags:
        found["image.name"] = ",".join(spelled_out(tag, record) for tag in tags)
    if context.environ.get(WARNINGS, "").lower() in ("1", "t", "true"):
        events = context.engine.build_events(ref)
        found["buildx.build.warnings"] = [
            {"short": event.get("text", "")} for event in events if event["status"] == "warning"
        ] or None
    image_outputs.write(path, json.dumps(dict(sorted(found.items())), indent=2))


def _attested(context: Context, record: ImageRecord) -> dict[str, object]:
    """The provenance that is attached to the image."""
    found = context.engine.image_details(record.id).attestations
    predicate = next((one for kind, one in found if kind.startswith("https://slsa.dev/provenance/")), None)
    return {"buildx.build.provenance": json.loads(bytes(predicate))} if predicate else {}


def _provenance(context: Context, ref: str) -> dict[str, object]:
    """The provenance of each platform: complete, or without the steps and times."""
    mode = _mode(context.environ)
    if not mode:
        return {}
    record = next((one for one in context.engine.build_records() if one.ref == ref), None)
    predicates = record.provenance if record else {}
    found: dict[str, object] = {}
    for platform, raw in predicates.items():
        predicate: dict[str, Any] = json.loads(bytes(raw))
        if mode == "min":
            predicate.pop("buildConfig", None)
            predicate.pop("metadata", None)
        key = "buildx.build.provenance" + (f"/{platform}" if len(predicates) > 1 else "")
        found[key] = predicate
    return found
