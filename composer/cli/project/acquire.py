"""Pulling and building the images that services need, concurrently, with progress. A service whose
image another service builds waits for that build.

--build, pull_policy build          build
--pull always, pull_policy always   pull, even when the image is there
missing (the default)               when the image is not there: build if the service can be built, else pull
never                               neither; a missing image is an error
daily, weekly, every_<duration>     pull when the last pull is older than that
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from msgspec import structs

from composer.cli.errors import CommandError
from composer.cli.project import builds as building
from composer.cli.project.concurrently import Task, side_by_side
from composer.cli.render.progress import Progress, State
from composer.plan import refusal
from engine.errors import EngineError, ImageRefused
from engine.quantities import nanoseconds
from engine.vocabulary import DIGEST

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.cli.project.converge import Images
    from composer.plan.desired import Desired, DesiredService
    from composer.run.port import Engine
    from engine.spec.image import BuildSpec, ImageRecord

_ID = re.compile(DIGEST)
AGES = {"daily": 86400.0, "weekly": 7 * 86400.0}


def decide(service: DesiredService, image: ImageRecord | None, *, build: bool, no_build: bool, pull: str) -> str:
    """ "build", "pull", or "" if the image is present. CommandError when it is missing and must not be pulled."""
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
        limit = nanoseconds(policy.removeprefix("every_")) / 1e9
    return limit is not None and time.time() - image.tagged_at > limit


def ensure_images(context: Context, desired: Desired, names: Iterable[str], wanted: Images) -> None:
    """Pull and build the missing images of `names`. The first failure ends this (CommandError or EngineError)."""
    names = list(names)
    refusal.check(desired, names)
    pulls: list[DesiredService] = []
    builds: list[str] = []
    for service in _images_of(desired, names):
        name = service.name
        builder = _built_by(desired, service) if not wanted.no_build else None
        if not service.image and service.build is None:
            continue
        image = context.engine.image(service.wanted_image)
        if builder is not None and builder is not service:
            if image is None and builder.name not in names:
                builds.append(builder.name)
            continue
        chosen = decide(service, image, build=wanted.build, no_build=wanted.no_build, pull=wanted.pull)
        if chosen:
            pulls.append(service) if chosen == "pull" else builds.append(name)
    needed = [(desired.services[name], _spec(desired.services[name])) for name in building.with_needed(desired, builds)]
    mounted = {image for name in names for image in desired.services[name].mounted_images}
    missing = sorted(mounted - {service.image for service, _ in needed})
    missing = [image for image in missing if context.engine.image(image) is None]
    if missing:
        _pull_mounted(context, missing, quiet=wanted.quiet_pull)
    if pulls:
        pull_all(context, pulls, quiet_transfers=wanted.quiet_pull)
    if needed:
        building.build_all(context, needed, quiet=wanted.quiet_build)
    if not context.dry_run:
        _admit(context, desired, names)


def _admit(context: Context, desired: Desired, names: Iterable[str]) -> None:
    """Refuse images that the machine's or the user's policy does not admit. One ImageRefused names all of them."""
    wanted = [service.wanted_image for service in _images_of(desired, names) if service.image]
    wanted += [image for name in names for image in desired.services[name].mounted_images]
    refused = []
    for image in dict.fromkeys(wanted):
        try:
            context.engine.admit(image)
        except ImageRefused as error:
            refused.append(str(error))
    if refused:
        raise CommandError("\n".join(refused))


def _images_of(desired: Desired, names: Iterable[str]) -> Iterator[DesiredService]:
    """The services, and for each pre_start hook with its own image, the service with that image."""
    for name in names:
        service = desired.services[name]
        if service.provider is not None and service.build is None:
            continue
        yield service
        for hook in service.pre_start:
            if hook.image != service.image:
                policy = hook.pull_policy or ("always" if service.pull_policy == "always" else "")
                yield structs.replace(
                    service, image=hook.image, build=None, pull_policy=policy, platform=hook.platform, pre_start=()
                )


def _built_by(desired: Desired, service: DesiredService) -> DesiredService | None:
    """The service whose build produces the image of `service`: itself, otherwise the first that names the same image."""
    if service.build is not None:
        return service
    made = (one for one in desired.services.values() if one.build is not None and service.image in one.build.tags)
    return next(made, None) if service.image else None


def _spec(service: DesiredService) -> BuildSpec:
    assert service.build is not None
    return service.build


def pull_all(
    context: Context, services: Sequence[DesiredService], *, quiet: bool = False, quiet_transfers: bool = False,
    ignore_failures: bool = False,
) -> None:  # fmt: skip
    """Pull the services' images, each once. Images that cannot be pulled but built are listed at the end."""
    with context.progress("pull", quiet=quiet) as progress:
        tasks: dict[str, Task] = {}
        seen: set[tuple[str, str]] = set()
        buildable: list[str] = []
        for service in services:
            key = (service.image, service.platform)
            if key not in seen:
                seen.add(key)
                step = f"Image {service.image}"
                step = step if step not in tasks else f"{step} {service.platform}"
                tasks[step] = _pull(context, service, progress, step, buildable, quiet=quiet_transfers)
        try:
            side_by_side(context, tasks, progress, ignore_failures=ignore_failures)
        finally:
            if buildable:
                words = "Some service image(s) must be built from source by running:"
                progress.note(f"warning: {words}\n    composer build {' '.join(sorted(buildable))}")


def _pull_mounted(context: Context, images: Sequence[str], *, quiet: bool) -> None:
    """Pull images that are mounted as file systems."""

    def task(image: str) -> Task:
        def work(engine: Engine) -> None:
            step = f"Image {image}"
            progress.update(step, "Pulling")
            if not context.dry_run:
                engine.pull(image, progress=transfers(progress, step, quiet=quiet))
            progress.update(step, "Pulled", State.DONE)

        return work

    with context.progress("pull") as progress:
        side_by_side(context, {f"Image {image}": task(image) for image in images}, progress)


def _pull(
    context: Context, service: DesiredService, progress: Progress, step: str, buildable: list[str], *, quiet: bool
) -> Task:
    def work(engine: Engine) -> None:
        if _ID.fullmatch(service.image):
            if engine.image(service.image) is None:
                raise CommandError(
                    f"service {service.name}: cannot pull {service.image}: no registry has an image by its id\n"
                    "Build or load it; if composer.lock names it, run `composer lock` afterwards."
                )
            progress.update(step, "Skipped Image is already present locally", State.DONE)
            return
        progress.update(step, "Pulling")
        if not context.dry_run:
            try:
                report = transfers(progress, step, quiet=quiet)
                engine.pull(service.image, platform=service.platform, progress=report)
            except EngineError as error:
                if service.build is not None:
                    buildable.append(service.name)
                raise CommandError(f"service {service.name}: cannot pull {service.image}: {error}") from error
        progress.update(step, "Pulled", State.DONE)

    return work


def transfers(progress: Progress, step: str, *, quiet: bool = False) -> Callable[[dict[str, object]], None]:
    """Show the engine's events for layers as bytes of the step."""

    def report(event: dict[str, object]) -> None:
        if quiet:
            return
        current, total = event.get("current"), event.get("total")
        if isinstance(current, int) and isinstance(total, int):
            progress.transfer(step, str(event.get("id")), current, total)

    return report


def pull_services(
    context: Context, services: Sequence[str], *, dependencies: bool, ignore_buildable: bool, ignore_failures: bool,
    policy: str, quiet: bool,
) -> int:  # fmt: skip
    """composer pull."""
    context.check_services(services)
    desired = context.desired
    names = desired.selected(services, dependencies=dependencies)
    _check_names(desired, names)
    chosen: list[DesiredService] = []
    with context.progress("pull", quiet=quiet) as progress:
        for service in _images_of(desired, names):
            name = service.name
            if reason := _not_pulled(context, service, policy or service.pull_policy, ignore_buildable):
                step = name if building.is_nameless(desired, service) else f"Image {service.image}"
                progress.update(step, f"Skipped {reason}", State.DONE)
            else:
                chosen.append(service)
        for name in names:
            provider = desired.services[name].provider
            if provider is not None and not provider.image:
                progress.update(name, "Skipped No image to be pulled", State.DONE)
    pull_all(context, chosen, quiet=quiet, ignore_failures=ignore_failures)
    return 0


def _not_pulled(context: Context, service: DesiredService, policy: str, ignore_buildable: bool) -> str:
    """Why `composer pull` skips an image, in docker compose's words; "" when it pulls it. The tag `latest` is pulled even with
    the policy `missing`."""
    if building.is_nameless(context.desired, service):
        return "No image to be pulled"
    if policy in ("never", "build"):
        return f"Pull policy is {policy}"
    if service.build is not None and ignore_buildable:
        return "Image can be built"
    _, colon, tag = service.image.rpartition("/")[2].partition(":")
    fixed = "@" in service.image or (colon and tag != "latest")
    if policy in ("missing", "if_not_present") and fixed and context.engine.image(service.wanted_image) is not None:
        return "Image is already present locally"
    return ""


def _check_names(desired: Desired, names: Iterable[str]) -> None:
    """Raises Refused for services whose image has no valid name. Other refusals matter only when a service is run."""
    refusal.check(desired, (name for name in names if not desired.services[name].image))


def push_services(
    context: Context, services: Sequence[str], *, dependencies: bool = False, ignore_failures: bool = False,
    quiet: bool = False,
) -> int:  # fmt: skip
    """composer push: services without a build section are skipped."""
    context.check_services(services)
    desired = context.desired
    names = desired.selected(services, dependencies=dependencies)
    _check_names(desired, names)
    with context.progress("push", quiet=quiet) as progress:
        tasks: dict[str, Task] = {}
        for name in names:
            service = desired.services[name]
            if service.build is None or building.is_nameless(desired, service):
                progress.update(name, "Skipped", State.DONE)
            else:
                tasks[f"Image {service.image}"] = _push(context, service, progress)
        side_by_side(context, tasks, progress, ignore_failures=ignore_failures)
    return 0


def _push(context: Context, service: DesiredService, progress: Progress) -> Task:
    def work(engine: Engine) -> None:
        step = f"Image {service.image}"
        for tag in _spec(service).tags or (service.image,):
            progress.update(step, "Pushing", detail=tag if tag != service.image else "")
            if not context.dry_run:
                engine.push(tag, progress=transfers(progress, step))
        progress.update(step, "Pushed", State.DONE)

    return work
