"""composer job: the project's jobs, their schedules and their runs."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from composer.cli.errors import CommandError, UsageError
from composer.cli.parsing.command_table import group
from composer.cli.parsing.flags import Args, Command, Flag
from composer.cli.project.jobs import Listed, ask, find_run, listed, need, registered_or_declared
from composer.cli.render.listing import FORCE, FORMAT, INSPECT, inspect, listing
from composer.view.errors import Unknown
from composer.view.units import human_duration
from engine import rfc3339

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.run.jobs.records import Run

HEADERS = {
    "Name": "NAME", "Project": "PROJECT", "Trigger": "TRIGGER", "State": "STATE", "Paused": "PAUSED",
    "LastRun": "LAST RUN", "Exit": "EXIT", "NextFire": "NEXT FIRE",
}  # fmt: skip
RUN_HEADERS = {
    "ID": "RUN ID", "Iteration": "ITERATION", "State": "STATE", "Exit": "EXIT", "Trigger": "TRIGGER",
    "Started": "STARTED", "Finished": "FINISHED", "Container": "CONTAINER", "Error": "ERROR",
}  # fmt: skip
NOTHING = "-"


def ls(context: Context, args: Args) -> int:
    now = time.time()
    jobs = listed(context, everywhere=args.all)
    if args.quiet:
        print("".join(f"{job.full_name if args.all else job.name}\n" for job in jobs), end="")
        return 0
    columns = ("Name", "Trigger", "State", "Paused", "LastRun", "Exit", "NextFire")
    print(listing(args.format, [_row(job, now, full=args.all) for job in jobs], HEADERS, columns), end="")
    return 0


def _row(job: Listed, now: float, *, full: bool) -> dict[str, object]:
    last = job.progress.runs[-1] if job.progress.runs else None
    following = job.next_fires(now, 1)
    return {
        "Name": job.full_name if full else job.name,
        "Project": job.project,
        "Trigger": "; ".join(one.key for one in job.job.schedules) or "manual",
        "State": job.state,
        "Paused": str(job.progress.paused).lower(),
        "LastRun": _ago(last.started or last.created, now) if last else NOTHING,
        "Exit": _code(last) if last else NOTHING,
        "NextFire": _local_time(following[0]) if following else NOTHING,
    }


def _ago(timestamp: float, now: float) -> str:
    return f"{human_duration(max(0.0, now - timestamp))} ago"


def _local_time(timestamp: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(timestamp)) if timestamp else NOTHING


def _code(run: Run) -> str:
    return NOTHING if run.exit_code is None else str(run.exit_code)


def runs(context: Context, args: Args) -> int:
    job = need(context, args.positional[0])
    found = list(reversed(job.progress.runs))
    if args.before:
        found = [run for run in found if run.iteration < args.before]
    if args.limit:
        found = found[: args.limit]
    if args.quiet:
        print("".join(f"{run.id}\n" for run in found), end="")
        return 0
    rows = [
        {
            "ID": run.id[:12],
            "Iteration": run.iteration,
            "State": run.state.value,
            "Exit": _code(run),
            "Trigger": run.trigger,
            "Started": _local_time(run.started),
            "Finished": _local_time(run.finished),
            "Container": NOTHING if run.container_gone or not run.container else run.container[:12],
            "Error": run.error.partition("\n")[0],
        }
        for run in found
    ]
    columns = ("Iteration", "State", "Exit", "Trigger", "Started", "Finished", "Container")
    print(listing(args.format, rows, RUN_HEADERS, columns), end="")
    return 0


def show(context: Context, args: Args) -> int:
    def find(name: str) -> dict[str, Any]:
        job = need(context, name)
        return _run_shown(find_run(job, args.run)) if args.run else _shown(job)

    def found(name: str) -> dict[str, Any]:
        try:
            return find(name)
        except CommandError as error:
            raise Unknown(str(error)) from None

    text, errors = inspect(args.positional, found, args.format)
    print(text, end="")
    print("".join(f"{error}\n" for error in errors), end="", file=sys.stderr)
    return 1 if errors else 0


def _shown(job: Listed) -> dict[str, Any]:
    limits = job.job
    return {
        "Name": job.full_name,
        "Project": job.project,
        "Job": job.name,
        "Image": job.job.service.image,
        "State": job.state,
        "Paused": job.progress.paused,
        "Manual": limits.manual,
        "Schedule": [
            {"Cron": one.cron, "Timezone": one.timezone or "UTC", "Concurrency": one.concurrency, "MissedFires": one.missed_fires}
            for one in limits.schedules
        ],
        "NextFires": [_stamp(timestamp) for timestamp in job.next_fires(time.time(), 5)],
        "Waiting": _stamp(job.progress.waiting),
        "Dropped": job.progress.dropped,
        "Timeout": limits.timeout,
        "Retries": limits.retries,
        "RetryDelay": limits.retry_delay,
        "History": limits.history,
        "Runs": [_run_shown(run) for run in reversed(job.progress.runs)],
    }  # fmt: skip


def _run_shown(run: Run) -> dict[str, Any]:
    return {
        "ID": run.id,
        "Iteration": run.iteration,
        "State": run.state.value,
        "ExitCode": run.exit_code,
        "Error": run.error,
        "Trigger": {"Kind": run.trigger, "Planned": _stamp(run.planned)},
        "Attempt": run.attempt,
        "Created": _stamp(run.created),
        "Started": _stamp(run.started),
        "Finished": _stamp(run.finished),
        "Container": run.container,
        "ContainerGone": run.container_gone,
    }


def _stamp(timestamp: float) -> str:
    return rfc3339.seconds(timestamp) if timestamp else ""


def start(context: Context, args: Args) -> int:
    job = registered_or_declared(context, args.positional[0])
    if not job.job.manual:
        raise CommandError(f'job "{job.name}" is declared with manual: false, it cannot be run manually')
    end = ask(context, "run", job.name, project=job.project, desired=job.desired)
    if args.wait:
        return ask(context, "wait", job.name, project=job.project, run=end.run).exit_code
    print(end.run)
    return 0


def logs(context: Context, args: Args) -> int:
    from composer.cli.terminal.job_log import show_run

    job = need(context, args.positional[0])
    run = find_run(job, args.positional[1] if len(args.positional) > 1 else "")
    tail = None if args.tail in ("", "all") else args.tail
    if tail is not None and not tail.isdecimal():
        raise UsageError(f'invalid --tail "{args.tail}": expected a number or all')
    return show_run(
        context, job, run, follow=args.follow, timestamps=args.timestamps, tail=int(tail) if tail is not None else None
    )


def wait(context: Context, args: Args) -> int:
    job = need(context, args.positional[0])
    run = find_run(job, args.positional[1] if len(args.positional) > 1 else "")
    code = run.command_code
    if not run.state.final:
        code = ask(context, "wait", job.name, project=job.project, run=run.id).exit_code
    print(code)
    return code


def cancel(context: Context, args: Args) -> int:
    job = need(context, args.positional[0])
    if job.progress.current is None:
        raise CommandError(f"job {job.full_name} is not running")
    print(ask(context, "cancel", job.name, project=job.project).run)
    return 0


def _each(verb: str, context: Context, args: Args, *, history: bool = False) -> int:
    """Request the action for each job, and print its name."""
    failed = 0
    for name in args.positional:
        try:
            job = need(context, name)
            if job.definition is None:
                if verb != "rm" or not history:
                    raise CommandError(f"job {job.full_name} is not registered")
            if not context.dry_run:
                ask(context, verb, job.name, project=job.project, history=history)
            print(name)
        except CommandError as error:
            print(error, file=sys.stderr)
            failed = 1
    return failed


def pause(context: Context, args: Args) -> int:
    return _each("pause", context, args)


def resume(context: Context, args: Args) -> int:
    return _each("resume", context, args)


def rm(context: Context, args: Args) -> int:
    if args.runs not in ("keep", "remove"):
        raise UsageError(f'invalid --runs "{args.runs}": keep or remove')
    for name in args.positional:
        job = need(context, name)
        if job.progress.current is not None and not args.force:
            raise CommandError(f"job {job.full_name} is running: cancel it first, or use --force")
    return _each("rm", context, args, history=args.runs == "remove")


def prune(context: Context, args: Args) -> int:
    from composer.cli.project.direct_changes import agreed

    jobs = [
        job
        for job in listed(context, everywhere=args.all, declared=False)
        if not job.job.schedules and job.progress.current is None
    ]
    warning = "This will remove all manual jobs that are not running, and their runs."
    if not agreed(context, warning, [f"job {job.full_name}" for job in jobs], force=args.force):
        return 0
    for job in jobs:
        ask(context, "rm", job.name, project=job.project, history=True)
        print(job.full_name)
    return 0


_ALL = Flag("all", "Include jobs of all projects", short="a")
_QUIET = Flag("quiet", "Only display names", short="q")
_NAME = "JOB is a job of the project, or PROJECT.JOB"

GROUP = group(
    "job",
    {
        "cancel": (
            Command("job cancel", "Cancel the current run of a job", "job cancel JOB", positional=(1, 1)),
            cancel,
        ),
        "inspect": (
            Command(
                "job inspect",
                "Display detailed information on one or more jobs",
                "job inspect [OPTIONS] JOB [JOB...]",
                (INSPECT, Flag("run", "Show this run: its number or id", "string")),
                positional=(1, None),
            ),
            show,
        ),
        "logs": (
            Command(
                "job logs",
                "View the output of a run, the last one if none is given",
                "job logs [OPTIONS] JOB [RUN]",
                (
                    Flag("follow", "Follow the output until the run ends", short="f"),
                    Flag("tail", "Number of lines to show from the end", "string", short="n", default="all"),
                    Flag("timestamps", "Show timestamps", short="t"),
                ),
                positional=(1, 2),
            ),
            logs,
        ),
        "ls": (Command("job ls", "List jobs", "job ls [OPTIONS]", (_ALL, FORMAT, _QUIET), positional=(0, 0)), ls),
        "pause": (
            Command("job pause", "Pause schedules", "job pause JOB [JOB...]", positional=(1, None)),
            pause,
        ),
        "prune": (
            Command(
                "job prune",
                "Remove manual jobs that are not running, and their runs",
                "job prune [OPTIONS]",
                (_ALL, FORCE),
                positional=(0, 0),
            ),
            prune,
        ),
        "resume": (
            Command("job resume", "Resume paused schedules", "job resume JOB [JOB...]", positional=(1, None)),
            resume,
        ),
        "rm": (
            Command(
                "job rm",
                "Remove one or more jobs",
                "job rm [OPTIONS] JOB [JOB...]",
                (
                    Flag("force", "Cancel unfinished runs", short="f"),
                    Flag("runs", 'Whether to keep the records of its runs ("keep"|"remove")', "string", default="keep"),
                ),
                positional=(1, None),
            ),
            rm,
        ),
        "run": (
            Command(
                "job run",
                "Start a job in the background and print the id of the run",
                "job run [OPTIONS] JOB",
                (Flag("wait", "Wait for the run to end, and exit with its exit code"),),
                positional=(1, 1),
            ),
            start,
        ),
        "runs": (
            Command(
                "job runs",
                "List the runs of a job, the last one first",
                "job runs [OPTIONS] JOB",
                (
                    Flag("before", "Show only runs before this number", "uint", default=0),
                    FORMAT,
                    Flag("limit", "Show this many runs at most", "uint", default=20),
                    Flag("quiet", "Only display ids", short="q"),
                ),
                positional=(1, 1),
            ),
            runs,
        ),
        "wait": (
            Command(
                "job wait", "Block until a run ends, then print its exit code", "job wait JOB [RUN]", positional=(1, 2)
            ),
            wait,
        ),
    },
    aliases={"list": "ls", "remove": "rm"},
)
