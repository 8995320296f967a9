"""composer run: run a one-off command in a new container of a service, with its dependencies, and return the exit
code."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from composer.cli.errors import Detached, ExitCode
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.parsing.options import LOCKED
from composer.plan.labels import AUTOREMOVE

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.plan.desired import Desired, DesiredService
    from composer.run.handles import Process
    from engine.spec.container import ContainerSpec

COMMAND = command(
    "run",
    "run [OPTIONS] SERVICE [COMMAND] [ARGS...]",
    (
        Flag("build", "Build the image first"),
        Flag("cap-add", "Add Linux capabilities", "strings", metavar="list"),
        Flag("cap-drop", "Drop Linux capabilities", "strings", metavar="list"),
        Flag("detach", "Run the container in the background and print its name", short="d"),
        Flag("entrypoint", "Override the entrypoint of the image", "string"),
        Flag(
            "env", "Set environment variables: NAME=VALUE, or NAME to pass on the caller's value", "strings", short="e"
        ),
        Flag("env-from-file", "Set environment variables from a file", "strings"),
        Flag("interactive", "Keep STDIN open even if not attached", short="i", default=True),
        Flag("label", "Add or replace a label", "strings", short="l", aliases=("labels",)),
        LOCKED,
        Flag("name", "The container's name", "string"),
        Flag("no-deps", "Do not start the services that this one depends on"),
        Flag(
            "no-tty",
            "Do not allocate a pseudo-TTY; the default is to allocate one when composer runs in a terminal",
            short="T",
            aliases=("no-TTY",),
        ),
        Flag("publish", "Publish a port of the container on the host", "strings", short="p"),
        Flag("pull", 'Pull the image first ("always"|"missing"|"never")', "string", default="policy"),
        Flag("quiet", "Show nothing but the command's output", short="q"),
        Flag("quiet-build", "Do not show the build's output"),
        Flag("quiet-pull", "Pull without showing progress"),
        Flag("remove-orphans", "Remove containers for services not defined in the Compose file"),
        Flag("rm", "Remove the container when it exits"),
        Flag("service-ports", "Publish the service's ports", short="P"),
        Flag("tty", "Allocate a pseudo-TTY", short="t", default=True, hidden=True),
        Flag("use-aliases", "Give the container the service's names on its networks"),
        Flag("user", "Run as this user name or uid", "string", short="u"),
        Flag("volume", "Mount a host path or a volume", "strings", short="v", aliases=("volumes",)),
        Flag("yes", 'Assume "yes" as answer to all prompts', short="y"),
        Flag("workdir", "Working directory inside the container", "string", short="w"),
    ),
    positional=(1, None),
    interspersed=False,
)


def run(context: Context, args: Args) -> int:
    from msgspec.structs import replace

    from composer.cli.parsing.flag_values import pull_policy
    from composer.cli.project.acquire import ensure_images
    from composer.cli.project.converge import Images
    from composer.cli.project.trust import check_trust

    name = args.positional[0]
    job = context.with_job(name)
    if job is None:
        context.check_services([name])
    desired = job or context.desired
    service = desired.services[name]
    policy = pull_policy(args.pull)
    others = [one for one in desired.selected([name], dependencies=not args.no_deps) if one != name]
    check_trust(context, desired, [*others, name], agreed=args.yes)
    context.build_log = context.stderr  # stdout is the program's
    quiet = {"quiet_pull": args.quiet_pull or args.quiet, "quiet_build": args.quiet_build or args.quiet}
    ensure_images(context, desired, [name], Images(build=args.build, pull=policy, **quiet))
    ensure_images(context, desired, others, Images(**quiet))
    if any(one.needs_programs for one in desired.every()):
        from composer.cli.project.external_programs import supplied

        desired = supplied(context, desired, [*others, name])
        service = desired.services[name]
    spec = _specification(context, args, desired, service)
    if job is not None:  # the container's terminal counts, not ours
        spec = replace(spec, tty=service.container.tty, stdin_open=service.container.stdin_open)
    if context.dry_run:
        _show_planned(context, args, desired, name, spec)
        return 0
    return _Run(context, args, desired, name, spec, job=job is not None).run()


def _show_planned(context: Context, args: Args, desired: Desired, service: str, spec: ContainerSpec) -> None:
    """A dry run of the service's dependencies, and of the container."""
    from composer.cli.project.change import options_of, show_planned
    from composer.cli.render.progress import State

    options = options_of(context, "run", [service], no_deps=args.no_deps, remove_orphans=args.remove_orphans)
    with context.progress("run", quiet=args.quiet) as progress:
        show_planned(context, progress, desired, options)
        progress.update(f"Container {spec.name}", "Creating")
        progress.update(f"Container {spec.name}", "Created", State.DONE)


def _specification(context: Context, args: Args, desired: Desired, service: DesiredService) -> ContainerSpec:
    import msgspec

    from composer.cli.commands.exec import wants_tty
    from composer.cli.project.oneoff import oneoff_spec
    from composer.cli.terminal.tty import own_size

    spec = oneoff_spec(
        service.container,
        args,
        project=desired.project,
        service=service.name,
        tty=wants_tty(args, interactive=args.interactive),
        volumes={key: volume.spec.name for key, volume in desired.volumes.items()},
        environ=context.environment if args.env or args.env_from_file else context.environ,
        directory=desired.working_dir,
    )
    labels = {**spec.labels, AUTOREMOVE: "true"} if args.rm else spec.labels
    size = own_size() if spec.tty else (0, 0)
    return msgspec.structs.replace(spec, image_ref=service.image, labels=labels, console_size=size)


@contextmanager
def _ending() -> Iterator[None]:
    """Turn deadly signals into an orderly exit, which cancels our request and removes our container."""

    def end(number: int, frame: object) -> None:
        raise ExitCode(128 + number)

    numbers = [n for n in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM) if signal.getsignal(n) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


class _Run:
    """One one-off container, from creation to exit."""

    def __init__(
        self, context: Context, args: Args, desired: Desired, service: str, spec: ContainerSpec, *, job: bool
    ) -> None:
        self._context, self._args, self._desired = context, args, desired
        self._service, self._spec = service, spec
        self._job_run = os.urandom(16).hex() if job else ""
        self._process: Process | None = None
        self._id = ""

    def run(self) -> int:
        from composer.cli.errors import CommandError
        from engine.errors import StartFailed

        taken = self._named() if self._args.name else ""  # a name of our own is random
        try:
            with _ending():
                self._start()
            if self._args.detach:
                print(self._id)
                return 0
            code = self._relay_until_exit()
            return self._outcome() if self._job_run else code
        except Detached:
            self._args.detach = True  # from now on the supervisor looks after it
            raise
        except (CommandError, StartFailed) as error:
            named = self._named()
            self._id = self._id or (named if named != taken else "")  # ours may have been created, but could not start
            self._args.detach = False  # nothing runs in the background
            if isinstance(error, CommandError):
                raise
            raise CommandError(f"service {self._service}: {error}") from None
        finally:
            if self._process is not None:
                self._process.close()
            if self._id and self._args.rm and not self._args.detach:
                self._remove()

    def _named(self) -> str:
        """The id of the project's container that has our name; "" if none has."""
        return next((r.id for r in self._context.containers() if r.spec.name == self._spec.name), "")

    def _start(self) -> None:
        """Let the supervisor start the dependencies, then the container; attach before its program runs."""
        from composer.cli.project.change import options_of, perform, show_running
        from composer.cli.project.supervisor import supervisor_of
        from composer.run.protocol import OneOff

        args = self._args
        options = options_of(
            self._context, "run", [self._service], no_deps=args.no_deps, remove_orphans=args.remove_orphans
        )
        supervisor = supervisor_of(self._context)
        supervisor.prepare()
        try:
            with self._context.progress("run", quiet=args.quiet) as progress:
                if self._desired.services[self._service].depends_on and not (args.no_deps or args.quiet):
                    show_running(self._context, progress, self._desired, options)
                self._id = perform(
                    supervisor,
                    progress,
                    self._desired,
                    options,
                    oneoff=OneOff(service=self._service, spec=self._spec, attach=not args.detach, run=self._job_run),
                    ready=self._attach,
                )
        finally:
            supervisor.close()

    def _attach(self, container_id: str) -> None:
        self._id = container_id
        self._process = self._context.engine.attach(self._context.project_name, container_id)

    def _relay_until_exit(self) -> int:
        from composer.cli.commands.attach import relay_until_exit
        from composer.cli.terminal.tty import parse_keys

        assert self._process is not None
        spec = self._spec
        return relay_until_exit(self._process, tty=spec.tty, stdin=spec.stdin_open, keys=parse_keys(""))

    def _outcome(self) -> int:
        """The outcome of a job's run: it may have been cancelled, timed out, or be retried."""
        from composer.cli.project.jobs import ask

        return ask(self._context, "wait", self._service, run=self._job_run).exit_code

    def _remove(self) -> None:
        from composer.cli.project.change import options_of, perform
        from composer.cli.project.supervisor import supervisor_of
        from composer.cli.render.progress import Progress

        options = options_of(self._context, "rm", [], containers=(self._id,), volumes=True, force=True)
        supervisor = supervisor_of(self._context)
        try:
            perform(supervisor, Progress(self._context.stderr), self._desired, options)
        finally:
            supervisor.close()
