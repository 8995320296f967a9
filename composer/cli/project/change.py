"""One change to the project: plan it, let the supervisor execute it, show the progress.

The command computes the plan first, with the same pure function as the supervisor: if it is empty, no supervisor is needed, and
--dry-run only shows it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError, UsageError
from composer.cli.project.supervisor import EAGER, prepared
from composer.cli.render.progress import PlainProgress, Progress, State
from composer.cli.render.steps import show, step_of, title_of
from composer.plan import observed
from composer.plan.labels import service_of
from composer.plan.operations import Plan, Wait
from composer.plan.options import Options
from composer.plan.reconcile import reconcile

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.plan.desired import Desired
    from composer.run.client import Client
    from composer.run.protocol import OneOff, Step

BY_NAME = ("kill", "pause", "restart", "rm", "stop", "unpause")
"""Actions for which the project's name and its containers are enough."""


def change(
    context: Context, action: str, *, services: Sequence[str] = (), quiet: bool = False, plain: bool = False,
    images: str = "", **options: object,
) -> int:  # fmt: skip
    """Do `action` (of `composer.plan.options`) to the project; returns the exit code.

    `plain`: show finished steps as plain lines even on a terminal, because other output goes there, too. `images`: for down,
    which images to remove: "", local or all. Other keywords are fields of `Options`.
    """
    supervisor = prepared(context, action)
    try:
        wanted = options_of(context, action, services, **options)
        return carry_out(context, supervisor, wanted, quiet=quiet, plain=plain, images=images)
    finally:
        supervisor.close()


def carry_out(
    context: Context, supervisor: Client, wanted: Options, *, quiet: bool = False, plain: bool = False, images: str = "",
    ready: Callable[[str], None] | None = None,
) -> int:  # fmt: skip
    """`change` with a supervisor that the caller has prepared and closes. `ready` is called with the id of each container to
    attach to."""
    if wanted.action in BY_NAME and context.environ.get("COMPOSE_PROJECT_NAME"):
        _warn_of_unknown(context, wanted.services)
    else:
        context.check_services(wanted.services, among_containers=True)
    desired = context.desired_or_none
    plan = reconcile(desired, snapshot(context, desired), wanted)
    progress = PlainProgress(context.stderr) if plain else context.progress(title_of(wanted.action), quiet=quiet)
    with progress:
        for warning in plan.warnings:
            progress.note(f"warning: {warning}")
        _show_unchanged(context, progress, plan, wanted)
        if context.dry_run:
            _show_planned(progress, plan)
        elif plan.operations or (wanted.action in EAGER and _is_unattended(context, supervisor, progress)):
            perform(supervisor, progress, desired, wanted, ready=ready, hooks=plain or ready is not None)
        else:
            if wanted.action == "down" and context.engine.remains(context.project_name):
                perform(supervisor, progress, desired, wanted)  # a supervisor cleans up before it exits
            if not plan.unchanged and not images:
                _nothing_to_do(context, progress, wanted)
        if wanted.action in ("stop", "down") and desired is not None:
            _end_provided(context, desired, wanted)
        if images and desired is not None:
            _remove_images(context, progress, desired, images)
    return 0


def _show_planned(progress: Progress, plan: Plan) -> None:
    """Show the operations of a dry run."""
    for operation in plan.operations:
        condition = operation.condition if isinstance(operation, Wait) else ""
        for done in (False, True):
            show(
                progress,
                operation.kind,
                operation.name,
                operation.cause,
                done=done,
                part=operation.part,
                condition=condition,
            )


def show_planned(context: Context, progress: Progress, desired: Desired, wanted: Options) -> None:
    """Show what the request would do, for a dry run."""
    plan = reconcile(desired, snapshot(context, desired), wanted)
    for warning in plan.warnings:
        progress.note(f"warning: {warning}")
    for name in plan.unchanged:
        progress.update(f"Container {name}", "Running", State.DONE)
    _show_planned(progress, plan)


def show_running(context: Context, progress: Progress, desired: Desired, wanted: Options) -> None:
    """Show the containers that the request leaves as they are."""
    for name in reconcile(desired, snapshot(context, desired), wanted).unchanged:
        progress.update(f"Container {name}", "Running", State.DONE)


def _end_provided(context: Context, desired: Desired, wanted: Options) -> None:
    if any(service.provider is not None for service in desired.services.values()):
        from composer.cli.project.providers import end

        end(context, desired, wanted.services, wanted.action)


def _warn_of_unknown(context: Context, services: Sequence[str]) -> None:
    """When the environment names the project, docker compose does not read its files, and accepts unknown services."""
    context.check_jobs(services)
    try:
        context.check_services(services, among_containers=True)
    except CommandError as error:
        context.warn(str(error))


def _is_unattended(context: Context, supervisor: Client, progress: Progress) -> bool:
    """Whether containers run although supervisor and keeper were killed. The next supervisor adopts them."""
    alive = any(r.state.status.up for r in context.containers())
    return alive and not supervisor.serves(progress.note)


def options_of(context: Context, action: str, services: Sequence[str], **options: object) -> Options:
    """`Options` from the global flags and the environment."""
    settings = context.settings
    if action in ("up", "create", "run", "down"):
        options.setdefault("ignore_orphans", settings.is_true("COMPOSE_IGNORE_ORPHANS"))
    if action in ("up", "create", "run", "down", "kill"):
        options["remove_orphans"] = settings.remove_orphans(bool(options.get("remove_orphans")))
    if action == "start" or action in BY_NAME:
        options["whole"] = context.whole_project
    if action == "up" and options["ignore_orphans"] and options["remove_orphans"]:
        raise UsageError("cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans")
    if action in ("up", "create", "run"):
        compatible = settings.is_true("COMPOSE_COMPATIBILITY") or bool(context.options.compatibility)
        options |= {"separator": "_" if compatible else "", "all_resources": bool(context.options.all_resources)}
    return Options(
        action=action, services=tuple(services), parallel=settings.parallel, **_given(options)  # type: ignore[arg-type]
    )  # fmt: skip


def perform(
    supervisor: Client, progress: Progress, desired: Desired | None, options: Options, *,
    oneoff: OneOff | None = None, ready: Callable[[str], None] | None = None, hooks: bool = False,
) -> str:  # fmt: skip
    """Let the supervisor execute the request, and show its steps; returns the id of the one-off container. `hooks`:
    also show the output of hooks. CommandError for failures."""
    from composer.run.protocol import End, HookLine, Note, Queued, Request
    from composer.run.protocol import Step as step

    for event in supervisor.perform(Request(options=options, desired=desired, oneoff=oneoff), ready=ready):
        if isinstance(event, step):
            own = oneoff is not None and (event.kind, event.name) == ("start container", oneoff.spec.name)
            if not own:  # docker compose does not show the start of the container of `run`
                _show_step(progress, event)
        elif isinstance(event, Note):
            progress.note(event.text)
        elif isinstance(event, HookLine):
            if hooks:
                name = event.container.removeprefix(f"{desired.project}-" if desired else "")
                print(f"{name} ->  | {event.text}", flush=True)
        elif isinstance(event, Queued):
            progress.note("Waiting for another command on this project to finish")
        elif isinstance(event, End):
            if event.failures:
                text = "\n".join(dict.fromkeys(failure.message for failure in event.failures))
                raise CommandError(text, 1 if text else event.failures[0].exit_code)  # no text: interrupted
            return event.container_id
    raise AssertionError("events without an end")


def _show_step(progress: Progress, event: Step) -> None:
    from composer.run.protocol import BEGUN, DONE, FAILED, WARNED

    step = step_of(event.kind, event.name)
    if event.state in (BEGUN, DONE):
        show(
            progress,
            event.kind,
            event.name,
            event.cause,
            done=event.state == DONE,
            part=event.part,
            condition=event.condition,
        )
    elif event.state == WARNED:
        progress.update(step, event.detail, State.WARNING)
    elif event.state == FAILED:
        progress.update(step, "Error", State.ERROR)  # failures are reported once, at the end


def _given(options: dict[str, object]) -> dict[str, object]:
    """Drop values that were not given: None and empty values mean the defaults of `Options`. 0 (seconds) is a value."""
    return {name: value for name, value in options.items() if value is not None and value is not False and value != ""}


def snapshot(context: Context, desired: Desired | None) -> observed.Snapshot:
    """The current state of the project."""
    engine, containers = context.engine, context.containers()
    return observed.take(
        context.project_name,
        containers,
        engine.networks(),
        engine.volumes(),
        desired.references() if desired else (),
        engine.image,
        engine.forwarding() if desired and desired.networks else (True, ""),
        registered_jobs(context),
        observed.changes_by_host(engine.host_changes, desired, containers),
    )


def registered_jobs(context: Context) -> dict[str, observed.ObservedJob]:
    """The project's jobs. Most projects have none, and then no module for them is loaded."""
    if not os.path.isdir(f"{context.roots.jobs}/{context.project_name}"):
        return {}
    from composer.run.jobs.journal import Journal

    return Journal(context.roots, context.project_name).observed()


def _show_unchanged(context: Context, progress: Progress, plan: Plan, options: Options) -> None:
    if options.action in ("stop", "down", "rm"):  # docker compose stops containers that do not run, too
        _show_stopped(progress, plan.unchanged)
        return
    if options.action in ("up", "create"):
        stopped = {operation.name for operation in plan.operations if operation.kind == "stop container"}
        removed = [one.name for one in plan.operations if one.kind == "remove container" and not one.part]
        _show_stopped(progress, [name for name in removed if name not in stopped])
    word = "Running" if options.action == "up" else "Created"
    running = set()
    if word == "Created" and plan.unchanged:
        running = {record.spec.name for record in context.containers() if record.state.status.alive}
    for name in plan.unchanged:
        if name in running or options.action != "create":
            progress.update(f"Container {name}", "Running" if name in running else word, State.DONE)


def _show_stopped(progress: Progress, names: Iterable[str]) -> None:
    """Show a stop of containers that do not run."""
    for name in names:
        progress.update(f"Container {name}", "Stopping")
        progress.update(f"Container {name}", "Stopped", State.DONE)


def _nothing_to_do(context: Context, progress: Progress, options: Options) -> None:
    """Docker compose's messages for commands that find nothing to act on."""
    if options.action == "start":
        if context.desired_or_none is None and not context.containers():
            raise CommandError(f'no container found for project "{context.project_name}": not found')
        _check_startable(context, options.services or sorted(context.declared_services() or ()))
    elif options.action == "kill":
        progress.note("No container to kill")
    elif options.action == "down" and context.desired_or_none is None:
        progress.note(f'Warning: No resource found to remove for project "{context.project_name}".')


def _check_startable(context: Context, services: Sequence[str]) -> None:
    """Raises CommandError when none of these services has a container, although one of them should."""
    desired = context.desired_or_none
    there = {service_of(record) for record in context.containers()}
    empty = {name for name, service in desired.services.items() if not service.scale} if desired else set()
    missing = [service for service in services if service not in there and service not in empty]
    if missing and there.isdisjoint(services):
        raise CommandError(f'service "{missing[0]}" has no container to start\nCreate it: composer create {missing[0]}')


def _remove_images(context: Context, progress: Progress, desired: Desired, which: str) -> None:
    """--rmi: local images are those that the project builds."""
    services = [one for one in desired.services.values() if one.image and (which != "local" or one.build is not None)]
    for image in dict.fromkeys(service.image for service in services):
        if context.engine.image(image) is None:
            continue
        step = f"Image {image}" + ("" if {":", "@"} & set(image.rpartition("/")[2]) else ":latest")
        progress.update(step, "Removing")
        if not context.dry_run:
            try:
                context.engine.remove_image(image)
            except Exception as error:
                if type(error).__name__ != "Conflict":
                    raise
                progress.update(step, "Resource is still in use", State.WARNING)
                continue
        progress.update(step, "Removed", State.DONE)
