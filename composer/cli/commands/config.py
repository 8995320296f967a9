"""composer config: the merged and resolved project, or a list of its names."""

from __future__ import annotations

import sys

from composer.cli.errors import CommandError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flag_values import output_format
from composer.cli.parsing.flags import Args, Flag
from composer.cli.project.context import nearest
from composer.cli.project.loaded import loaded

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from composer.cli.project.context import Context
    from composer.load.options import Loaded
    from composer.load.read.interpolation.expressions import Variable

COMMAND = command(
    "config",
    "config [OPTIONS] [SERVICE...]",
    (
        Flag("environment", "Print environment used for interpolation."),
        Flag("explain", "Show where each value comes from; arguments are services or paths like web.ports"),
        Flag("fires", "Print when the schedules of jobs fire next, five times each"),
        Flag("format", "Format the output. Values: [yaml | json]", "string"),
        Flag("hash", "Print the service config hash, one per line.", "string"),
        Flag("images", "Print the image names, one per line."),
        Flag("lock-image-digests", "Produces an override file with image digests"),
        Flag("models", "Print the model names, one per line."),
        Flag("networks", "Print the network names, one per line."),
        Flag("no-consistency", "Don't check model consistency - warning: may produce invalid Compose output"),
        Flag("no-env-resolution", "Don't resolve service env files"),
        Flag("no-interpolate", "Don't interpolate environment variables"),
        Flag("no-normalize", "Don't normalize compose model"),
        Flag("no-path-resolution", "Don't resolve file paths"),
        Flag("output", "Save to file (default to stdout)", "string", short="o"),
        Flag("profiles", "Print the profile names, one per line."),
        Flag("quiet", "Only validate the configuration, don't print anything", short="q"),
        Flag("resolve-image-digests", "Pin image tags to digests"),
        Flag("services", "Print the service names, one per line."),
        Flag("strict", "Treat warnings, including advice, as errors"),
        Flag("variables", "Print model variables and default values."),
        Flag("volumes", "Print the volume names, one per line."),
    ),
)


def run(context: Context, args: Args) -> int:
    for name, listing in LISTINGS.items():
        if getattr(args, name):
            text = listing(context, args)
            if not (args.quiet and name == "environment"):  # as in docker compose, --quiet is not about the other lists
                _print(text)
            return 0
    if args.explain:
        from composer.cli.render.explain import explain

        return _put(explain(context, args), args)
    if args.fires:
        return _put(_fires(context), args)
    output_format(args.format, "yaml", "json")
    tree = _project(context, args)
    return 0 if args.quiet else _put(_rendered(tree, args), args)


def _put(text: str, args: Args) -> int:
    """Write the output to the file or stream that the flags request."""
    if args.output and not args.quiet:
        with open(args.output, "w", encoding="utf-8") as file:
            file.write(text)
    elif not args.quiet:
        _print(text if text.endswith("\n") or not sys.stdout.isatty() else f"{text}\n")
    return 0


def _fires(context: Context) -> str:
    """A line for each of the next five fires of every job."""
    import time
    from datetime import datetime

    from composer.run.jobs.timing import fires, zone_of

    lines = []
    for name, job in sorted(context.desired.jobs.items()):
        for schedule in job.schedules:
            for timestamp in fires(schedule, time.time(), 5):
                shown = datetime.fromtimestamp(timestamp, zone_of(schedule.timezone))
                lines.append(f"{name}\t{schedule.key}\t{shown:%a %Y-%m-%d %H:%M %Z}")
    return "".join(f"{line}\n" for line in lines)


def _project(context: Context, args: Args) -> Any:
    """The tree that the flags request."""
    services = args.positional
    if args.no_interpolate and services:
        _warn_of_selection(context, "--no-interpolate")
        services = []
    tree: Any = loaded(context, args, services).tree
    if args.resolve_image_digests or args.lock_image_digests:
        from composer.cli.project import pinning

        pinning.pin(context, tree)
        if args.lock_image_digests:
            return pinning.locked(context, tree)
    return tree


def _rendered(tree: Any, args: Args) -> str:
    from composer.cli.render import layout

    as_json = args.format == "json"
    if args.no_interpolate:
        return layout.sorted_json(tree) if as_json else layout.sorted_yaml(tree)
    if as_json:
        _check_ssh(tree)
    return (layout.to_json(tree) if as_json else layout.to_yaml(tree)).replace("$", "$$")


def _check_ssh(tree: Any) -> None:
    """Raises CommandError for an SSH key with a path, for which docker compose prints invalid JSON."""
    for name, service in _services(tree):
        for key in (service.get("build") or {}).get("ssh") or ():
            if "=" in key:
                raise CommandError(
                    f"services.{name}.build.ssh: {key!r} cannot be expressed in JSON\nPrint the project as YAML."
                )


def _services(tree: Any) -> Iterable[tuple[str, Any]]:
    return sorted((tree.get("services") or {}).items())


def _names(context: Context, args: Args) -> str:
    """The names of services, dependencies first."""
    tree = loaded(context, args, resolve_environment=False).tree
    services = tree.get("services") or {}
    ordered: dict[str, None] = {}

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in services and name not in ordered and name not in above:
            for needed in sorted(services[name].get("depends_on") or ()):
                visit(needed, (*above, name))
            ordered[name] = None

    for name in sorted(services):
        visit(name, ())
    return _lines(ordered)


def _section(section: str) -> Callable[[Context, Args], str]:
    return lambda context, args: _lines(
        sorted(_typed(context, args, resolve_environment=False).tree.get(section) or ())
    )


def _typed(context: Context, args: Args, services: Iterable[str] = (), **changes: bool) -> Loaded:
    """The project with types if its values allow it, as they do not where a number is a variable that stays."""
    from composer.load.errors import LoadError

    if args.no_interpolate:
        try:
            return loaded(context, args, services, bind=True, **changes)
        except LoadError:
            if services:
                raise
    return loaded(context, args, services, **changes)


def _models(context: Context, args: Args) -> str:
    models = (_typed(context, args, resolve_environment=False).tree.get("models") or {}).values()
    return _lines(sorted(model["model"] for model in models if model and model.get("model")))


def _profiles(context: Context, args: Args) -> str:
    """The profiles of the services and, unless services are selected, of the jobs."""
    found = _typed(context, args, args.positional)
    every = [*(found.tree.get("services") or {}).values(), *found.disabled.values()]
    if not args.positional:
        every += [*(found.tree.get("jobs") or {}).values(), *found.disabled_jobs.values()]
    return _lines(sorted({profile for one in every for profile in one.get("profiles") or ()}))


def _images(context: Context, args: Args) -> str:
    """The images of the services and, unless services are selected, of the jobs."""
    found = _typed(context, args, args.positional)
    jobs = [] if args.positional else sorted((found.tree.get("jobs") or {}).items())
    using = [(name, one) for name, one in _services(found.tree) if one.get("image") or not one.get("provider")]
    return _lines(one.get("image") or f"{found.name}-{name}" for name, one in [*using, *jobs])


def _hashes(context: Context, args: Args) -> str:
    """The hashes. Only files of the requested services need to exist."""
    found = loaded(context, args, bind=True, defer=True)
    names = sorted(found.hashes) if args.hash == "*" else sorted(set(args.hash.split(",")))
    for name in names:
        if name in found.disabled:
            raise CommandError(f"no such service: {name}: disabled")
        if name not in found.hashes:
            raise CommandError(f"no such service: {name}{nearest(name, found.hashes)}")
    if refused := [line for name in names for line in found.refused.get(name, ())]:
        raise CommandError("\n".join(refused))
    return _lines(f"{name} {found.hashes[name]}" for name in names)


def _environment(context: Context, args: Args) -> str:
    environment = loaded(context, args, args.positional).environment
    return _lines(sorted(f"{name}={value}" for name, value in environment.items()))


def _variables(context: Context, args: Args) -> str:
    """The variables that the files use. A variable with several uses is listed once, with its last use."""
    if args.positional:
        _warn_of_selection(context, "--variables")
    tree = loaded(
        context,
        args,
        interpolate=False,
        resolve_environment=False,
        consistency=False,
        validate=False,
        normalize=False,
    ).tree
    found: dict[str, Variable] = {}
    _find_variables(tree, found)
    rows = [(name, one.default or "", one.alternate or "", one.required) for name, one in sorted(found.items())]
    if args.format == "json":
        import json

        names = ("Name", "DefaultValue", "PresenceValue", "Required")
        view = {row[0]: dict(zip(names, row, strict=True)) for row in rows}
        return json.dumps(view, indent=4, ensure_ascii=False) + "\n\n"
    if args.format == "yaml":
        return _variables_yaml(rows)
    if args.format != "pretty":
        output_format(args.format, "table", "yaml", "json")
    from composer.cli.render.table import table

    header = ("NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE")
    return table([header, *((n, str(r).lower(), default, other) for n, default, other, r in rows)], minimum=20)


def _variables_yaml(rows: Iterable[tuple[str, str, str, bool]]) -> str:
    """Indented by four, as docker compose writes it."""
    import textwrap

    from composer.cli.render.yaml import document

    keys = ("name", "defaultvalue", "presencevalue", "required")
    blocks = [document({row[0]: dict(zip(keys, row, strict=True))}).partition("\n") for row in rows]
    return "".join(f"{name}\n{textwrap.indent(rest, '  ')}" for name, _, rest in blocks) or document({})


class _AllSet(dict[str, str]):
    """An environment in which every variable is set."""

    def get(self, name: str, default: object = None) -> str:
        return "set"


def _find_variables(value: Any, found: dict[str, Variable]) -> None:
    from composer.load.read.interpolation.expressions import TemplateError, substitute

    if isinstance(value, str) and "$" in value:

        def seen(variable: Variable) -> None:
            found[variable.name] = variable

        try:
            substitute(value, _AllSet(), None, seen)
        except TemplateError:
            raise CommandError(f"invalid interpolation format: {value!r}") from None
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _find_variables(inner, found)


LISTINGS: dict[str, Callable[[Context, Args], str]] = {
    "services": _names,
    "volumes": _section("volumes"),
    "networks": _section("networks"),
    "models": _models,
    "hash": _hashes,
    "profiles": _profiles,
    "images": _images,
    "variables": _variables,
    "environment": _environment,
}
"""Flag → what it prints; the first that is given holds."""


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _print(text: str) -> None:
    sys.stdout.write(text)


def _warn_of_selection(context: Context, flag: str) -> None:
    """Warn that the whole project is shown although services are named, as docker compose does."""
    shown = "variables from the full model" if flag == "--variables" else "the full model"
    context.warn(f"service filtering is not applied when {flag} is set, {shown} will be rendered")
