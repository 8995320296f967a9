"""composer up: create and start a project's containers, and follow their logs unless detached."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from composer.cli.errors import UsageError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.parsing.options import LOCKED

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command(
    "up",
    "up [OPTIONS] [SERVICE...]",
    (
        Flag("abort-on-container-exit", "Stops all containers if any container was stopped. Incompatible with -d"),
        Flag("abort-on-container-failure", "Stops all containers if any container exited with failure. Incompatible with -d"),
        Flag("always-recreate-deps", "Recreate dependent containers. Incompatible with --no-recreate."),
        Flag("attach", "Restrict attaching to the specified services. Incompatible with --attach-dependencies.", "strings"),
        Flag("attach-dependencies", "Automatically attach to log output of dependent services"),
        Flag("build", "Build images before starting containers"),
        Flag("detach", "Detached mode: Run containers in the background", short="d"),
        Flag("exit-code-from", "Return the exit code of the selected service container. Implies --abort-on-container-exit", "string"),
        Flag("force-recreate", "Recreate containers even if their configuration and image haven't changed"),
        LOCKED,
        Flag("menu", "Enable interactive shortcuts when running attached; on by default in a terminal. Incompatible with --detach."),
        Flag("no-attach", "Do not attach (stream logs) to the specified services", "strings"),
        Flag("no-build", "Don't build an image, even if it's policy"),
        Flag("no-color", "Produce monochrome output"),
        Flag("no-deps", "Don't start linked services"),
        Flag("no-log-prefix", "Don't print prefix in logs"),
        Flag("no-recreate", "If containers already exist, don't recreate them. Incompatible with --force-recreate."),
        Flag("no-start", "Don't start the services after creating them"),
        Flag("pull", 'Pull image before running ("always"|"missing"|"never")', "string", default="policy"),
        Flag("quiet-build", "Suppress the build output"),
        Flag("quiet-pull", "Pull without printing progress information"),
        Flag("remove-orphans", "Remove containers for services not defined in the Compose file"),
        Flag("renew-anon-volumes", "Recreate anonymous volumes instead of retrieving data from the previous containers", short="V"),
        Flag("scale", "Scale SERVICE to NUM instances. Overrides the `scale` setting in the Compose file if present.", "strings", metavar="scale"),
        Flag("timeout", "Use this timeout in seconds for container shutdown when attached or when containers are already running", "int", short="t"),
        Flag("timestamps", "Show timestamps"),
        Flag("wait", "Wait for services to be running|healthy. Implies detached mode."),
        Flag("wait-timeout", "Maximum duration in seconds to wait for the project to be running|healthy", "uint", default=0),
        Flag("watch", "Watch source code and rebuild/refresh containers when files are updated.", short="w"),
        Flag("yes", 'Assume "yes" as answer to all prompts and run non-interactively', short="y", aliases=("y",)),
    ),
)  # fmt: skip


def run(context: Context, args: Args) -> int:
    _check(context, args)
    import time

    from composer.cli.project.converge import converge_with_flags

    detached = args.detach or args.wait or args.no_start
    began = time.time()
    outputs = None
    if not detached and not context.dry_run:
        from composer.cli.terminal.streams import Outputs

        outputs = Outputs(context, lambda: _attached(context, args)[1])
    try:
        code = converge_with_flags(
            context,
            args,
            start=not args.no_start,
            outputs=outputs,
            meanwhile=lambda: _logs_while_waiting(context, args),
            wait=args.wait,
            wait_timeout=float(args.wait_timeout),
        )
    except KeyboardInterrupt:
        if detached or "desired" not in vars(context):
            raise
        return _stop_begun(context, args)
    if code or args.no_start or context.dry_run:
        return code
    if outputs is None:
        return 0
    from composer.cli.terminal.foreground import Foreground

    services, shown = _attached(context, args)
    return Foreground(context, args, services, shown, began, outputs).run()


def _logs_while_waiting(context: Context, args: Args) -> AbstractContextManager[None]:
    """Show the logs of containers until they are ready (--wait)."""
    if not args.wait or context.dry_run:
        return nullcontext()
    from composer.cli.terminal.waiting_logs import logs_shown

    return logs_shown(context, args, _attached(context, args)[1])


def _stop_begun(context: Context, args: Args) -> int:
    """Stop the running containers after Ctrl-C during a start in the foreground."""
    from composer.cli.project.change import change

    print("Gracefully Stopping... press Ctrl+C again to force", file=context.stderr, flush=True)
    change(context, "stop", services=args.positional or context.desired.order, plain=True, timeout=args.timeout)
    return 130


def _check(context: Context, args: Args) -> None:
    """Raises UsageError for contradictory flags, with docker compose's messages."""
    attached = (
        args.abort_on_container_exit or args.abort_on_container_failure or args.attach or args.attach_dependencies
    )
    if args.detach and (attached or args.exit_code_from or args.watch):
        raise UsageError(
            "--detach cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --attach, "
            "--attach-dependencies, --exit-code-from or --watch"
        )
    if args.detach and args.menu:
        context.warn("--menu has no effect with --detach")
    if args.wait and (attached or args.exit_code_from or args.watch):
        raise UsageError(
            "--wait cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --attach, "
            "--attach-dependencies or --watch"
        )
    if args.no_build and args.watch:
        raise UsageError("--no-build and --watch are incompatible")
    if args.no_recreate and args.renew_anon_volumes:
        raise UsageError("--no-recreate and --renew-anon-volumes are incompatible")
    if args.no_start and (args.wait or args.watch):
        raise UsageError("--no-start cannot be combined with --wait or --watch")
    if args.attach and args.attach_dependencies:
        raise UsageError("--attach and --attach-dependencies are incompatible")
    if args.always_recreate_deps and args.no_recreate:
        raise UsageError("--always-recreate-deps and --no-recreate are incompatible")
    if args.always_recreate_deps and args.no_deps:
        raise UsageError("--always-recreate-deps and --no-deps are incompatible")
    if args.abort_on_container_exit and args.abort_on_container_failure:
        raise UsageError("--abort-on-container-exit and --abort-on-container-failure are incompatible")


def _attached(context: Context, args: Args) -> tuple[set[str], set[str]]:
    """The requested services, and those whose logs are shown (--attach, --no-attach, attach: false)."""
    from composer.cli.errors import CommandError

    desired = context.desired
    context.check_services((*args.attach, *args.no_attach))
    started = desired.selected(args.positional, dependencies=not args.no_deps)
    if args.attach:
        shown = set(args.attach)
    else:
        requested = args.positional if args.positional and not args.attach_dependencies else started
        shown = {name for name in requested if desired.services[name].attach} or set(requested)
    shown -= set(args.no_attach)
    if args.exit_code_from and args.exit_code_from not in desired.services:
        raise CommandError(f"no such service: {args.exit_code_from}")
    return set(args.positional or started), shown
