"""`image build --call`: describe a Dockerfile instead of building it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from composer.cli.errors import UsageError
from composer.cli.project.builds import check_summary
from composer.cli.render.table import table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from composer.cli.project.context import Context
    from engine.spec.image import BuildSpec, BuildWarning
    from engine.spec.outline import Parameter

CALLS = ("check", "outline", "targets")


def answer(context: Context, call: str, spec: BuildSpec) -> int:
    """`--call=CALL[,format=text|json]`: print the answer; the exit code. UsageError for other calls."""
    name, _, form = call.partition(",")
    if name not in CALLS or form not in ("", "format=text", "format=json"):
        raise UsageError(f"unsupported --call {call!r}: build, {', '.join(CALLS)}, with ,format=json for JSON")
    as_json = form == "format=json"
    if name == "check":
        return _check(context, spec, as_json=as_json)
    from composer.view import outline as view

    if name == "outline":
        outline = context.engine.outline_build(spec)
        shown, text = (
            view.outline(outline),
            _heading(outline.name, outline.description) + _parameters(outline.args, outline.secrets, outline.ssh),
        )
    else:
        targets = context.engine.build_targets(spec)
        rows = [(" ".join([one.name] * bool(one.name) + ["(default)"] * one.default), one.description)
                for one in targets.targets]  # fmt: skip
        shown, text = view.targets(targets), table([("TARGET", "DESCRIPTION"), *rows], padding=1)
    print(json.dumps(shown, indent=2, ensure_ascii=False) + "\n" if as_json else text, end="")
    return 0


def _heading(name: str, description: str) -> str:
    if not name:
        return ""
    rows = [("TARGET:", name), *([("DESCRIPTION:", description)] if description else [])]
    return table(rows, padding=1) + "\n"


def _parameters(args: Iterable[Parameter], secrets: Iterable[Parameter], ssh: Iterable[Parameter]) -> str:
    text = ""
    if rows := [(one.name, one.value, one.description) for one in args]:
        text += table([("BUILD ARG", "VALUE", "DESCRIPTION"), *rows]) + "\n"
    for title, some in (("SECRET", secrets), ("SSH", ssh)):
        if required := [(one.name, "true" if one.required else "") for one in some]:
            text += table([(title, "REQUIRED"), *required]) + "\n"
    return text


def _check(context: Context, spec: BuildSpec, *, as_json: bool) -> int:
    warnings = context.engine.check_build(spec)
    if as_json:
        print(json.dumps({"warnings": [_described(warning) for warning in warnings] or None}, indent=2))
        return 1 if warnings else 0
    print(check_summary(len(warnings)))
    print("".join(f"\n{warning.text}" for warning in warnings), end="")
    return 1 if warnings else 0


def _described(warning: BuildWarning) -> dict[str, object]:
    return {
        "ruleName": warning.rule,
        "description": warning.detail,
        "url": warning.url,
        "location": {"ranges": [{"start": {"line": warning.start}, "end": {"line": warning.end}}]},
    }
