"""composer build: build the images of services that have a build section."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.errors import CommandError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.parsing.options import LOCKED, check_progress

if TYPE_CHECKING:
    from composer.cli.project.context import Context

BUILDER = "default"
"""The name that docker gives the builder of its engine."""

COMMAND = command(
    "build",
    "build [OPTIONS] [SERVICE...]",
    (
        Flag("build-arg", "Set a build argument: NAME=VALUE, or NAME to pass on the caller's value", "strings"),
        Flag("builder", "Set builder to use: only default, which is built in", "string"),
        Flag("check", "Check build configuration"),
        Flag("compress", "Deprecated, without effect", default=True, hidden=True),
        Flag("force-rm", "Deprecated, without effect", default=True, hidden=True),
        LOCKED,
        Flag("memory", "Set memory limit for each RUN instruction", "string", short="m"),
        Flag("no-cache", "Do not use cached layers"),
        Flag("no-rm", "Deprecated, without effect", hidden=True),
        Flag("parallel", "Deprecated, without effect", default=True, hidden=True),
        Flag("print", "Print equivalent bake file"),
        Flag("progress", "Set type of progress output (auto, tty, plain, json, quiet)", "string", hidden=True),
        Flag("provenance", "Add a provenance attestation", "string"),
        Flag("pull", "Pull base images even when they are present"),
        Flag("push", "Push the images after building them"),
        Flag("quiet", "Do not show the builds' output", short="q"),
        Flag("sbom", "Add a SBOM attestation", "string"),
        Flag("ssh", "SSH agent sockets or keys for builds: default, or ID=PATH", "string"),
        Flag("with-dependencies", "Also build the services that these depend on"),
    ),
)  # fmt: skip


def run(context: Context, args: Args) -> int:
    from composer.cli.commands.exec import environment
    from composer.cli.project.acquire import push_services
    from composer.cli.project.builds import build_services

    check_progress(args.progress)
    if args.progress:
        context.options.progress = args.progress
    _check_builder(context, args)
    code = build_services(
        context,
        args.positional,
        dependencies=args.with_dependencies,
        arguments=environment(args.build_arg, context.environ),
        no_cache=args.no_cache,
        pull=args.pull,
        ssh=args.ssh if "ssh" in args.given else None,
        memory=args.memory,
        provenance=(args.provenance or "true") if "provenance" in args.given else "",
        sbom=(args.sbom or "true") if "sbom" in args.given else "",
        quiet=args.quiet,
        check=args.check,
        push=args.push if args.print else None,
    )
    if not code and args.push and not args.check and not args.print:
        code = push_services(context, args.positional, dependencies=args.with_dependencies, quiet=args.quiet)
    return code


def _check_builder(context: Context, args: Args) -> None:
    """Warn about flags without effect. Raises CommandError for an unknown builder."""
    if args.builder not in ("", BUILDER):
        raise CommandError(f'no builder "{args.builder}" found: composer has a single built-in builder, "{BUILDER}"')
    named = context.environ.get("BUILDX_BUILDER", "")
    if not args.builder and named not in ("", BUILDER):
        context.warn(f"BUILDX_BUILDER={named} is not used: composer has a single built-in builder")
    if args.no_rm:
        context.warn("--no-rm has no effect: builds keep no intermediate containers")
