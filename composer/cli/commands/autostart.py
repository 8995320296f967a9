"""composer autostart: start projects again after a reboot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError, UsageError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from engine.errors import EngineError

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.cli.project.systemd_unit import Units
    from engine.spec.state import ContainerRecord

COMMAND = command(
    "autostart",
    "autostart enable|disable|status|run|stop [OPTIONS]",
    (Flag("print", "With enable: show the systemd unit instead of writing it"),),
    positional=(1, 1),
    actions={
        "enable": "Write the project's systemd unit, and enable it",
        "disable": "Disable and remove the unit",
        "status": "List projects, whether each has a unit, and the containers that run would start",
        "run": "Start what ran before the reboot, of all projects or the one of -p; for units and other init systems",
        "stop": "Stop the project's containers for a shutdown, so that run starts them again",
    },
)


def run(context: Context, args: Args) -> int:
    from composer.cli.project.systemd_unit import Units

    units = Units(context.environ, user=os.geteuid() != 0)
    verb = args.positional[0]
    if args.print and verb != "enable":
        raise UsageError(f"--print is only valid with enable, not with {verb}")
    if verb == "enable":
        return _enable(context, units, only_print=args.print or context.dry_run)
    if verb == "disable":
        return _disable(context, units)
    if verb == "status":
        return _status(context, units)
    if verb == "run":
        return _run(context)
    if verb == "stop":
        return _stop(context)
    raise UsageError(f"unknown action {verb!r}: enable, disable, status, run or stop")


def _enable(context: Context, units: Units, *, only_print: bool) -> int:
    project = context.project_name
    text = units.text(project, context.roots.state, context.roots.run)
    if only_print:
        print(text, end="")
        return 0
    if not os.path.isdir("/run/systemd/system"):
        context.stderr.write(
            "warning: systemd is not running; make your init system run 'composer autostart run' at boot\n"
        )
    path = units.write(project, text)
    units.reload()
    print(f"wrote {path}: project {project} starts at boot")
    if not any(policy_of(record) for record in context.containers()) and project not in _scheduled(context):
        context.stderr.write(
            f"warning: no container of project {project} has restart: always or unless-stopped, and no job a schedule\n"
        )
    if units.user and not os.path.exists(f"/var/lib/systemd/linger/{_login()}"):
        context.stderr.write(
            "warning: the project starts at your next login; to start it at boot, run: loginctl enable-linger\n"
        )
    return 0


def _login() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _disable(context: Context, units: Units) -> int:
    project = context.project_name
    if context.dry_run and os.path.exists(units.path(project)):
        return 0
    if not units.remove(project):
        raise CommandError(f"project {project} has no unit: {units.path(project)}")
    units.reload()
    print(f"{units.path(project)} removed")
    return 0


def _status(context: Context, units: Units) -> int:
    from composer.cli.render.table import table

    enabled = set(units.projects())
    boot = context.engine.boot_id()
    rows = [("PROJECT", "UNIT", "TO COME BACK")]
    for project in sorted({*enabled, *context.engine.groups(), *_scheduled(context)}):
        waiting = to_restart(context.engine.containers(project), boot)
        rows.append((project, "enabled" if project in enabled else "none", str(len(waiting))))
    print(table(rows, minimum=20), end="")
    return 0


def policy_of(record: ContainerRecord) -> str:
    """always, unless-stopped, or "" for a container that does not start at boot (Docker's rule)."""
    policy = record.spec.restart.policy
    return policy if policy in ("always", "unless-stopped") else ""


def to_restart(records: list[ContainerRecord], boot: str) -> list[ContainerRecord]:
    """The containers of an earlier boot that are to start again. A stopped one starts again only with `always`."""
    return [
        record
        for record in records
        if policy_of(record)
        and record.state.started_at
        and not record.state.status.alive
        and record.state.boot_id != boot
        and (policy_of(record) == "always" or not record.state.stopped_by_user)
    ]


def _run(context: Context) -> int:
    """Start one project after the other; a failure does not prevent the others."""
    boot = context.engine.boot_id()
    scheduled = _scheduled(context)
    every = sorted({*context.engine.groups(), *scheduled})
    failed = []
    for project in [context.project_name] if context.options.project_name else every:
        records = to_restart(context.engine.containers(project), boot)
        try:
            if records:
                _perform(context, project, "start", tuple(record.id for record in records))
            elif project in scheduled:
                _supervise(context, project)
        except (CommandError, EngineError) as error:
            failed.append(f"{project}: {error}")
    if failed:
        raise CommandError("\n".join(failed))
    return 0


def _scheduled(context: Context) -> list[str]:
    """The projects with jobs whose schedules are to continue."""
    if not os.path.isdir(context.roots.jobs):
        return []
    from composer.cli.project.jobs import armed

    return armed(context.roots)


def _supervise(context: Context, project: str) -> None:
    """Start the supervisor, which runs the schedules. Raises EngineError."""
    from composer.run.client import Client

    if context.dry_run:
        return
    supervisor = Client(context.roots, project, context.environ)
    try:
        supervisor.open().close()
    finally:
        supervisor.close()


def _stop(context: Context) -> int:
    if context.project_name in _scheduled(context):
        from composer.cli.project.jobs import ask

        ask(context, "suspend", "")
    restarting = "restarting"
    records = [r for r in context.containers() if r.state.status.alive or r.state.status.value == restarting]
    if records:
        _perform(context, context.project_name, "stop", tuple(record.id for record in records), suspend=True)
    return 0


def _perform(context: Context, project: str, action: str, containers: tuple[str, ...], **options: object) -> None:
    from composer.cli.project.change import options_of, perform
    from composer.cli.render.steps import title_of
    from composer.run.client import Client

    if context.dry_run:
        return
    wanted = options_of(context, action, (), containers=containers, **options)
    with context.progress(title_of(action)) as progress:
        perform(Client(context.roots, project, context.environ), progress, None, wanted)
