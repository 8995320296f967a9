"""Loading the project for `config`: with the flags that skip steps, and with all warnings printed."""

from __future__ import annotations

from composer.cli.errors import CommandError

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from composer.cli.parsing.flags import Args
    from composer.cli.project.context import Context
    from composer.load.options import Loaded


def loaded(context: Context, args: Args, services: Iterable[str] = (), bind: bool = False, **changes: Any) -> Loaded:
    """The project as the flags request it, with its warnings printed; without types when nothing is interpolated,
    except on request (`bind`)."""
    from composer.load.project import load_model, load_tree

    options = context.load_options().replace(
        services=tuple(services),
        defer=False,
        interpolate=not args.no_interpolate,
        normalize=not (args.no_normalize or context.options.compatibility),
        resolve_paths=not args.no_path_resolution,
        consistency=not args.no_consistency,
        resolve_environment=not args.no_env_resolution,
        all_resources=context.options.all_resources,
    )
    options = options.replace(**changes)
    found = load_tree(options) if options.interpolate or bind else load_model(options)
    warnings = [*found.warnings, *_without_effect(found)]
    for warning in warnings:
        context.warn(warning)
    if args.strict:
        from composer.load.check.advice import advice

        more = [str(one) for one in advice(found)]
        for line in more:
            context.warn(line)
        count = len(warnings) + len(more)
        if count:
            raise CommandError(f"{count} warning{'s' * (count != 1)}, treated as errors by --strict")
    return found


def _without_effect(found: Loaded) -> list[str]:
    """Warnings of attributes without effect, when the project is bound and does not silence them."""
    from composer.load.check.no_effect import effects
    from composer.load.notice import not_silenced

    return not_silenced(effects(found.tree), found.tree, found.environment) if found.hashes else []
