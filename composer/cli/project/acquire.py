"""Getting images: which services need a pull or a build, both done side by side, with their progress shown.

--build, pull_policy build          build
--pull always, pull_policy always   pull, even when the image is there
missing (the default)               when the image is not there: build if the service can be built, else pull
never                               neither; a missing image is an error
daily, weekly, every_<duration>     pull when it was last got longer ago
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
import msgspec

from composer.cli.errors import CommandError, UsageError
from composer.cli.render.progress import Progress, State
from composer.plan import refusal
from engine.errors import EngineError

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.cli.project.converge import Images
    from composer.plan.desired import Desired, DesiredService
    from composer.run.port import Engine
    from engine.spec.image import BuildSpec, ImageRecord

Task = Callable[["Engine"], None]

AGES = {"daily": 86400.0, "weekly": 7 * 86400.0}
UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}


def with_dependencies(desired: Desired, services: Sequence[str], *, dependencies: bool) -> list[str]:
    """The named services (empty: all), with what they depend on if asked for, in order."""
    if not services:
        return list(desired.order)
    chosen: set[str] = set()
    waiting = list(services)
    while waiting:
        name = waiting.pop()
        if name not in chosen and name in desired.services:
            chosen.add(name)
            if dependencies:
                service = desired.services[name]
                waiting += [*(d.service for d in service.depends_on), *service.linked]
    return [name for name in desired.services if name in chosen]


def decide(service: DesiredService, image: ImageRecord | None, *, build: bool, no_build: bool, pull: str) -> str:
    """ "build", "pull" or "" (it is there). CommandError when it is missing and may not be got."""
    policy = service.pull_policy if pull in ("", "policy") else pull
    if build and service.build is not None and not no_build:
        return "build"
    if policy == "build" and service.build is not None and not no_build:
        return "build"
    if policy == "always" and (service.build is None or pull == "always"):
        return "pull" if service.build is None else ("" if image else "build")
    if image is not None:
        return "pull" if service.build is None and _too_old(policy, image) else ""
    if service.build is not None and not no_build:
        return "build"
    if policy == "never" or (service.build is not None and no_build):
        why = "--no-build" if service.build is not None else "pull_policy is never"
        raise CommandError(f"No such image: {service.image} (service {service.name}), and {why}")
    return "pull"


def _too_old(policy: str, image: ImageRecord) -> bool:
    limit = AGES.get(policy)
    if policy.startswith("every_"):
        parts = re.findall(r"(\d+)([wdhms])", policy)
        limit = float(sum(int(number) * UNITS[unit] for number, unit in parts))
    return limit is not None and time.time() - image.tagged_at > limit


def ensure_images(context: Context, desired: Desired, names: Iterable[str], wanted: Images) -> None:
    """Pull and build what `names` need and have not. The first failure ends it (CommandError or EngineError)."""
    names = list(names)
    refusal.check(desired, names)
    pulls: list[DesiredService] = []
    builds: list[DesiredService] = []
    for name in names:
        service = desired.services[name]
        if service.image or service.build is not None:
            chosen = decide(
                service, context.engine.image(service.image),
                build=wanted.build, no_build=wanted.no_build, pull=wanted.pull,
            )  # fmt: skip
            if chosen:
                (pulls if chosen == "pull" else builds).append(service)
    mounted = {image for name in names for image in desired.services[name].mounted_images}
    missing = sorted(mounted - {service.image for service in builds})
    missing = [image for image in missing if context.engine.image(image) is None]
    if missing:
        _pull_mounted(context, missing, quiet=wanted.quiet_pull)
    if pulls:
        pull_all(context, pulls, quiet=wanted.quiet_pull)
    if builds:
        build_all(context, [(service, _spec(service)) for service in builds], quiet=wanted.quiet_build)


def _spec(service: DesiredService) -> BuildSpec:
    assert service.build is not None
    return service.build


def pull_all(
    context: Context, services: Sequence[DesiredService], *, quiet: bool = False, ignore_failures: bool = False
) -> None:
    """Pull the services' images, each once."""
    with context.progress("Pulling", quiet=quiet) as progress:
        tasks: dict[str, Task] = {}
        first: dict[tuple[str, str], str] = {}
        for service in services:
            key = (service.image, service.platform)
            if key in first:
                words = f"Skipped - Image is already being pulled by {first[key]}"
                progress.update(service.name, words, State.DONE)
                continue
            first[key] = service.name
            tasks[service.name] = _pull(context, service, progress)
        side_by_side(context, tasks, progress, ignore_failures=ignore_failures)


def _pull_mounted(context: Context, images: Sequence[str], *, quiet: bool) -> None:
    """Pull images that are mounted as file systems."""

    def task(image: str) -> Task:
        def work(engine: Engine) -> None:
            progress.update(image, "Pulling")
            if not context.dry_run:
                engine.pull(image, progress=_transfers(progress, image))
            progress.update(image, "Pulled", State.DONE)

        return work

    with context.progress("Pulling", quiet=quiet) as progress:
        side_by_side(context, {image: task(image) for image in images}, progress)


def _pull(context: Context, service: DesiredService, progress: Progress) -> Task:
    def work(engine: Engine) -> None:
        progress.update(service.name, "Pulling")
        if not context.dry_run:
            try:
                engine.pull(service.image, platform=service.platform, progress=_transfers(progress, service.name))
            except EngineError as error:
                raise CommandError(f"service {service.name}: cannot pull {service.image}: {error}") from error
        progress.update(service.name, "Pulled", State.DONE)

    return work


def _transfers(progress: Progress, step: str) -> Callable[[dict[str, object]], None]:
    """The engine's events of layers, as bytes of the step."""

    def tell(event: dict[str, object]) -> None:
        current, total = event.get("current"), event.get("total")
        if isinstance(current, int) and isinstance(total, int):
            progress.transfer(step, str(event.get("id")), current, total)

    return tell


def build_all(
    context: Context, builds: Sequence[tuple[DesiredService, BuildSpec]], *, quiet: bool = False
) -> dict[str, str]:
    """Build the images; service → image id. A build that uses another service's image waits for that one."""
    made: dict[str, str] = {}
    waiting = {service.name: (service, spec) for service, spec in builds}
    with context.progress("Building", quiet=quiet) as progress:
        while waiting:
            ready = {
                name: pair for name, pair in waiting.items() if not (_uses(pair[1]) & (waiting.keys() - {name}))
            } or dict([next(iter(waiting.items()))])
            tasks = {f"Service {name}": _build(context, *pair, progress, made) for name, pair in ready.items()}
            side_by_side(context, tasks, progress)
            for name in ready:
                del waiting[name]
    return made


def _uses(spec: BuildSpec) -> set[str]:
    """Services whose images a build takes as additional contexts."""
    return {
        value.removeprefix("service:") for value in spec.additional_contexts.values() if value.startswith("service:")
    }


def _with_images(context: Context, spec: BuildSpec, made: Mapping[str, str]) -> BuildSpec:
    """`service:name` as an additional context is that service's image: the one just built, else the one it names."""
    if not _uses(spec):
        return spec
    contexts: dict[str, str] = {}
    for key, value in spec.additional_contexts.items():
        name = value.removeprefix("service:")
        contexts[key] = (
            value if name == value else f"docker-image://{made.get(name) or context.desired.services[name].image}"
        )
    return msgspec.structs.replace(spec, additional_contexts=contexts)


def _build(
    context: Context, service: DesiredService, spec: BuildSpec, progress: Progress, made: dict[str, str]
) -> Task:
    step = f"Service {service.name}"

    def tell(event: dict[str, object]) -> None:
        if event.get("status") == "output" and progress.detailed:
            progress.note(f"{service.name} {event.get('line', '')}")
        elif event.get("status") in ("running", "cached", "error", "warning", "done"):
            progress.update(step, "Building", detail=str(event.get("name", "")))
            if progress.detailed:
                progress.note(f"{service.name} {event.get('line', '')}")

    def work(engine: Engine) -> None:
        progress.update(step, "Building")
        if not context.dry_run:
            made[service.name] = engine.build(_with_images(context, spec, made), progress=tell).id
        progress.update(step, "Built", State.DONE)

    return work


def side_by_side(
    context: Context, tasks: Mapping[str, Task], progress: Progress, *, ignore_failures: bool = False
) -> None:
    """Run the tasks in threads, at most --parallel at once, each with an engine of its own (SQLite connections do not
    cross threads). The first failure is raised when all have ended, unless failures are only to be told."""
    from concurrent.futures import ThreadPoolExecutor

    limit = context.options.parallel if context.options.parallel > 0 else max(len(tasks), 1)
    failures: list[Exception] = []

    def run(name: str, task: Task) -> None:
        try:
            task(context.new_engine())
        except Exception as error:
            progress.update(name, "Error" if not ignore_failures else "Warning",
                            State.WARNING if ignore_failures else State.ERROR, detail=str(error).partition("\n")[0])  # fmt: skip
            failures.append(error)

    if len(tasks) == 1:
        for name, task in tasks.items():
            run(name, task)
    elif tasks:
        with ThreadPoolExecutor(max_workers=limit) as pool:
            for future in [pool.submit(run, name, task) for name, task in tasks.items()]:
                future.result()
    if failures and not ignore_failures:
        raise failures[0]


def pull_services(
    context: Context, services: Sequence[str], *, dependencies: bool, ignore_buildable: bool, ignore_failures: bool,
    policy: str, quiet: bool,
) -> int:  # fmt: skip
    """composer pull."""
    context.check_services(services)
    desired = context.desired
    chosen: list[DesiredService] = []
    for name in with_dependencies(desired, services, dependencies=dependencies):
        service = desired.services[name]
        wanted = policy or service.pull_policy
        skipped = not service.image or (service.build is not None and (ignore_buildable or wanted == "build"))
        there = wanted in ("missing", "if_not_present") and context.engine.image(service.image) is not None
        if not skipped and not there and wanted != "never":
            chosen.append(service)
    pull_all(context, chosen, quiet=quiet, ignore_failures=ignore_failures)
    return 0


def push_services(
    context: Context, services: Sequence[str], *, dependencies: bool = False, ignore_failures: bool = False,
    quiet: bool = False,
) -> int:  # fmt: skip
    """composer push: services without a build section are skipped."""
    context.check_services(services)
    desired = context.desired
    with context.progress("Pushing", quiet=quiet) as progress:
        tasks: dict[str, Task] = {}
        for name in with_dependencies(desired, services, dependencies=dependencies):
            service = desired.services[name]
            if service.build is None or not service.image:
                progress.update(name, "Skipped", State.DONE)
            else:
                tasks[name] = _push(context, service, progress)
        side_by_side(context, tasks, progress, ignore_failures=ignore_failures)
    return 0


def _push(context: Context, service: DesiredService, progress: Progress) -> Task:
    def work(engine: Engine) -> None:
        for tag in _spec(service).tags or (service.image,):
            progress.update(service.name, "Pushing", detail=tag)
            if not context.dry_run:
                engine.push(tag, progress=_transfers(progress, service.name))
        progress.update(service.name, "Pushed", State.DONE)

    return work


def build_services(
    context: Context, services: Sequence[str], *, dependencies: bool, arguments: Mapping[str, str | None],
    no_cache: bool, pull: bool, ssh: str, quiet: bool,
) -> int:  # fmt: skip
    """composer build; with --quiet the ids of the images are printed."""
    context.check_services(services)
    desired = context.desired
    builds = []
    chosen = with_dependencies(desired, services, dependencies=dependencies)
    refusal.check(desired, chosen)
    for name in chosen:
        service = desired.services[name]
        if service.build is not None:
            spec = msgspec.structs.replace(
                service.build,
                args={**service.build.args, **arguments},
                no_cache=service.build.no_cache or no_cache,
                pull=service.build.pull or pull,
                ssh=(*service.build.ssh, ssh) if ssh else service.build.ssh,
            )
            builds.append((service, spec))
    if not builds:
        print("No services to build", file=context.stderr)
        return 0
    made = build_all(context, builds, quiet=quiet)
    if quiet:
        print("".join(f"{image}\n" for image in made.values()), end="")
    return 0


def check_policy(text: str) -> str:
    """A --pull value; UsageError names what is allowed."""
    if text not in ("policy", "always", "missing", "never", "build"):
        raise UsageError(f'invalid --pull option "{text}", not one of always, missing, never')
    return text
