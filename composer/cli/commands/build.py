"""composer build: build the images of services that have a build section."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.parsing.flags import Args, Command, Flag
from composer.cli.parsing.options import LOCKED, check_progress

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = Command(
    "build",
    "Build or rebuild services",
    "build [OPTIONS] [SERVICE...]",
    (
        Flag("build-arg", "Set a build argument: NAME=VALUE, or NAME to pass on the caller's value", "strings"),
        Flag("builder", "Set builder to use", "string", refused="composer has a single built-in builder"),
        Flag("check", "Check build configuration"),
        Flag("compress", "Deprecated, without effect", default=True, hidden=True),
        Flag("force-rm", "Deprecated, without effect", default=True, hidden=True),
        LOCKED,
        Flag("memory", "Set memory limit for each RUN instruction", "string", short="m"),
        Flag("no-cache", "Do not use cached layers"),
        Flag("no-rm", "Deprecated", hidden=True, refused="builds keep no intermediate containers"),
        Flag("parallel", "Deprecated, without effect", default=True, hidden=True),
        Flag("print", "Print equivalent bake file", refused="bake files are not supported"),
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
    )
    if not code and args.push and not args.check:
        code = push_services(context, args.positional, dependencies=args.with_dependencies, quiet=args.quiet)
    return code
