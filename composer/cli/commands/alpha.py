"""composer alpha: docker compose's experimental commands, and those that were experimental once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from composer.cli.commands import publish, scale, watch
from composer.cli.errors import CommandError, InvalidArgument, UsageError
from composer.cli.parsing.command_table import group
from composer.cli.parsing.flag_values import output_format
from composer.cli.parsing.flags import Args, Command, Flag

if TYPE_CHECKING:
    from composer.cli.parsing.flags import Runner
    from composer.cli.project.context import Context


def _visualize(context: Context, args: Args) -> int:
    """`alpha viz`: the services and their dependencies in the DOT language (graphviz.org)."""
    from composer.load.project import load_tree

    print("viz command is EXPERIMENTAL", file=context.stderr)
    if args.indentation_size < 0:
        raise InvalidArgument(str(args.indentation_size), "--indentation-size", "must not be negative")
    indent = (" " if args.spaces else "\t") * args.indentation_size
    loaded = load_tree(context.load_options().replace(defer=False))
    services = sorted(loaded.tree["services"].items())
    lines = ['digraph "viz" {', f"{indent}layout=dot;"]
    for name, service in services:
        label = f'<font point-size="15">{name}</font>{_details(service, args, f"{loaded.name}-{name}")}'
        lines.append(f'{indent}"{name}" [style="filled" label=<{label}>];')
    lines.append("")
    for name, service in services:
        lines += [f'{indent}"{name}" -> "{other}";' for other in sorted(service.get("depends_on") or ())]
    print("\n".join([*lines, "}", ""]))
    return 0


def _details(service: Any, args: Args, image: str) -> str:
    found = ""
    networks = sorted(service.get("networks") or ())
    if args.networks and networks:
        found += _block("Networks", networks)
    ports = service.get("ports") or ()
    if args.ports and ports:
        found += _block(
            "Ports", [f"{p.get('published', '')}:{p['target']} ({p['protocol']}, {p['mode']})" for p in ports]
        )
    if args.image:
        found += _block("Image", [service.get("image") or image])
    return found


def _block(title: str, lines: list[str]) -> str:
    return f'<font point-size="10"><br/><br/><b>{title}:</b><br/>{"<br/>".join(lines)}</font>'


def _dry_run(context: Context, args: Args) -> int:
    """Another command with --dry-run."""
    import importlib

    from composer.cli.parsing.command_table import module_of
    from composer.cli.parsing.flags import check_positional, parse

    module = importlib.import_module(module_of(args.positional[0]))
    command = getattr(module, "COMMAND", None)
    if command is None:
        raise UsageError(f"composer {args.positional[0]} is a group of commands: give --dry-run to one of them")
    given = parse(command.flags, args.positional[1:], interspersed=command.interspersed)
    check_positional(command, given.positional)
    context.dry_run = True
    code: int = module.run(context, given) or 0
    return code


def _generate(context: Context, args: Args) -> int:
    from composer.cli.project.generated import tree
    from composer.cli.render.layout import to_json, to_yaml

    print("generate command is EXPERIMENTAL", file=context.stderr)
    if not args.positional:
        raise CommandError("at least one container must be specified")
    output_format(args.format, "yaml", "json")
    found = tree(context, args.positional, args.name)
    print(to_json(found) if args.format == "json" else to_yaml(found))
    return 0


def _also(module: Any) -> tuple[Command, Runner]:
    """A command that is also available outside this group."""
    known: Command = module.COMMAND
    name = f"alpha {known.name}"
    command = Command(
        name,
        known.short,
        f"alpha {known.usage}",
        known.flags,
        positional=known.positional,
        interspersed=known.interspersed,
    )
    return command, module.run


GROUP = group(
    "alpha",
    {
        "dry-run": (
            Command(
                "alpha dry-run",
                "EXPERIMENTAL - Dry run command allow you to test a command without applying changes",
                "alpha dry-run -- [COMMAND...]",
                positional=(1, None),
                interspersed=False,
            ),
            _dry_run,
        ),
        "generate": (
            Command(
                "alpha generate",
                "EXPERIMENTAL - Generate a Compose file from existing containers",
                "alpha generate [OPTIONS] [CONTAINERS...]",
                (
                    Flag("format", "Format the output. Values: [yaml | json]", "string", default="yaml"),
                    Flag("name", "Project name to set in the Compose file", "string"),
                    Flag("project-dir", "Directory to use for the project", "string"),
                ),
            ),
            _generate,
        ),
        "publish": _also(publish),
        "scale": _also(scale),
        "viz": (
            Command(
                "alpha viz",
                "EXPERIMENTAL - Generate a graphviz graph from your compose file",
                "alpha viz [OPTIONS]",
                (
                    Flag("image", "Include service's image name in output graph"),
                    Flag("indentation-size", "Number of tabs or spaces to use for indentation", "int", default=1),
                    Flag("networks", "Include service's attached networks in output graph"),
                    Flag("ports", "Include service's exposed ports in output graph"),
                    Flag("spaces", "Indent with spaces, not with tabs"),
                ),
                positional=(0, 0),
            ),
            _visualize,
        ),
        "watch": _also(watch),
    },
)
