"""composer bridge: convert a project to another model, such as Kubernetes manifests, with transformation images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.parsing.command_table import group
from composer.cli.parsing.flag_values import output_format
from composer.cli.parsing.flags import Args, Command, Flag, Group

if TYPE_CHECKING:
    from composer.cli.project.context import Context


def _convert(context: Context, args: Args) -> int:
    from composer.cli.project.bridge import DEFAULT, convert

    return convert(context, args.transformation or [DEFAULT], args.output, args.templates)


def _list(context: Context, args: Args) -> int:
    from composer.cli.project.bridge import listing

    output_format(args.format, "table", "json")
    print(listing(context, as_json=args.format == "json", quiet=args.quiet), end="")
    return 0


def _create(context: Context, args: Args) -> int:
    from composer.cli.project.bridge import DEFAULT, create

    return create(context, args.positional[0], getattr(args, "from") or DEFAULT)


GROUP = group(
    "bridge",
    {
        "convert": (
            Command(
                "bridge convert",
                "Convert compose files to Kubernetes manifests, Helm charts, or another model",
                "bridge convert",
                (
                    Flag("output", "Output directory; its content is replaced", "string", short="o", default="out"),
                    Flag("templates", "Directory containing transformation templates", "string"),
                    Flag(
                        "transformation",
                        "Transformation to apply to compose model (default: docker/compose-bridge-kubernetes)",
                        "strings",
                        short="t",
                    ),
                ),
                positional=(0, 0),
            ),
            _convert,
        ),
        "transformations": Group(
            "bridge transformations",
            "Manage transformation images",
            {
                "create": (
                    Command(
                        "bridge transformations create",
                        "Create a new transformation",
                        "bridge transformations create [OPTION] PATH",
                        (
                            Flag(
                                "from",
                                "Existing transformation to copy (default: docker/compose-bridge-kubernetes)",
                                "string",
                                short="f",
                            ),
                        ),
                        positional=(1, 1),
                    ),
                    _create,
                ),
                "list": (
                    Command(
                        "bridge transformations list",
                        "List available transformations",
                        "bridge transformations list",
                        (
                            Flag("format", "Format the output. Values: [table | json]", "string", default="table"),
                            Flag("quiet", "Only display transformer names", short="q"),
                        ),
                        positional=(0, 0),
                    ),
                    _list,
                ),
            },
            {"ls": "list"},
        ),
    },
)
