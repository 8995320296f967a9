"""Bring a project to its desired state; used by up, create, scale and watch.

check the flags → load → images (pull, build) → one request to the supervisor, its events shown
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from msgspec import Struct, structs

from composer.cli.errors import CommandError, UsageError
from composer.cli.parsing.flag_values import pull_policy
from composer.cli.parsing.scale import parse_scale

if TYPE_CHECKING:
    from composer.cli.parsing.flags import Args
    from composer.cli.project.context import Context
    from composer.cli.terminal.streams import Outputs
    from composer.plan.desired import Desired
    from composer.plan.options import Options
    from composer.run.client import Client
    from engine.spec.image import Freed

IMAGE_BUDGET = "COMPOSER_IMAGE_BUDGET"
"""The environment variable that limits the total size of images on disk; unlimited if unset."""


FLAGS = (
    "always_recreate_deps", "force_recreate", "no_deps", "no_recreate", "remove_orphans", "renew_anon_volumes", "timeout",
)  # fmt: skip
"""Those of `up` and `create` that are fields of `Options`."""


class Images(Struct, frozen=True, kw_only=True):
    """How to get images. `pull` "policy" follows each service's pull_policy. `prune` removes unused images that newer
    builds replaced."""

    build: bool = False
    no_build: bool = False
    pull: str = "policy"
    quiet_pull: bool = False
    quiet_build: bool = False
    prune: bool = True


def converge_with_flags(
    context: Context, args: Args, *, start: bool = True, outputs: Outputs | None = None,
    meanwhile: Callable[[], AbstractContextManager[None]] = nullcontext, **options: object,
) -> int:  # fmt: skip
    """`converge` with the flags of `up` or `create`. Raises UsageError if they contradict each other."""
    if args.build and args.no_build:
        raise UsageError("--build and --no-build are incompatible")
    if args.force_recreate and args.no_recreate:
        raise UsageError("--force-recreate and --no-recreate are incompatible")
    pull_policy(args.pull)
    return converge(
        context,
        args.positional,
        start=start,
        outputs=outputs,
        meanwhile=meanwhile,
        images=Images(**_named(args, Images.__struct_fields__)),
        scale=parse_scale(args.scale, "--scale option"),
        recreate_volumes=args.yes,
        **_named(args, FLAGS),
        **options,
    )


def _named(args: Args, names: Iterable[str]) -> dict[str, Any]:
    """Flags by name; `create` lacks some of `up`."""
    return {name: getattr(args, name) for name in names if hasattr(args, name)}


def converge(
    context: Context, services: Sequence[str], *, images: Images, start: bool = True, outputs: Outputs | None = None,
    meanwhile: Callable[[], AbstractContextManager[None]] = nullcontext, **options: object,
) -> int:  # fmt: skip
    """Get the images, then bring the project to the state that its files describe; returns the exit code. `outputs`
    attaches to the containers that need it. The work is done in the context manager that `meanwhile` returns. It may
    start threads, because the supervisor is already forked. Other keywords are fields of `Options`. CommandError for
    failures."""
    from composer.cli.project.supervisor import prepared

    action = "up" if start else "create"
    supervisor = prepared(context, action)
    from composer.cli.project.change import options_of

    try:
        wanted = options_of(context, action, services, **options)
        with meanwhile():
            return _converge(context, wanted, images, supervisor, outputs)
    finally:
        supervisor.close()


def _converge(context: Context, wanted: Options, images: Images, supervisor: Client, outputs: Outputs | None) -> int:
    from composer.cli.project.acquire import ensure_images
    from composer.cli.project.change import carry_out

    budget = _budget(context)
    context.check_services(wanted.services)
    context.check_services(wanted.scale, enable=False)
    desired = context.desired
    _check_enabled(desired, wanted.scale)
    if wanted.action == "up" and not (desired.services or desired.jobs or wanted.all_resources):
        raise CommandError("no service selected")
    _check_jobs(context, desired)
    _check_scale(desired, wanted.scale)
    if outputs is not None:
        wanted = structs.replace(wanted, attach=outputs.unreadable(desired))
    names = desired.selected(wanted.services, dependencies=not wanted.no_deps)
    jobs = _jobs(desired, names, wanted) if desired.jobs else []
    if desired.foreign or context.fetched is not None:
        from composer.cli.project.trust import check_trust

        check_trust(context, desired, (*names, *jobs), agreed=wanted.recreate_volumes)
    external = any(one.needs_programs for one in desired.every())
    if external:
        from composer.cli.project.external_programs import supplied, to_build

        built = to_build(context, desired, names, build=images.build)
    ensure_images(context, desired, names, images)
    for job in jobs:
        _ensure_job_images(context, desired, names, job, images)
    if external:
        desired = supplied(context, desired, names, provided=wanted.action == "up", built=built, scale=wanted.scale)
        context.desired = context.desired_or_none = desired
    code = carry_out(context, supervisor, wanted, ready=outputs.ready if outputs is not None else None)
    if images.prune and not context.dry_run and any(service.build is not None for service in desired.services.values()):
        _report(context, context.engine.remove_replaced_images(), "replaced by newer builds")
    if not context.dry_run and budget is not None:
        _report(context, context.engine.trim_images(budget), f"over {IMAGE_BUDGET}={context.environ[IMAGE_BUDGET]}")
    return code


def _budget(context: Context) -> int | None:
    """The image budget in bytes, None without one. CommandError."""
    text = context.environ.get(IMAGE_BUDGET)
    if not text:
        return None
    from engine import quantities

    try:
        return quantities.size(text)
    except ValueError as error:
        raise CommandError(f"{IMAGE_BUDGET}: {error}") from None


def _report(context: Context, freed: Freed, why: str) -> None:
    """Report the unused images that were removed."""
    if freed.images:
        from composer.view.units import human_size

        count = f"{len(freed.images)} image{'s' if len(freed.images) > 1 else ''}"
        # The build cache may still have all layers.
        removed = f"Freed {human_size(freed.size)}: removed" if freed.size else "Removed"
        print(f"{removed} {count} {why}", file=context.stderr)


def _check_jobs(context: Context, desired: Desired) -> None:
    """Warn about jobs without a schedule: `up` does not start them."""
    manual = sorted(name for name, job in desired.jobs.items() if not job.scheduled)
    if manual:
        context.warn(f"jobs are not started by up; trigger them with `composer run`: {', '.join(manual)}")


def _jobs(desired: Desired, names: list[str], wanted: Options) -> list[str]:
    """The jobs that the services depend on, and those that are scheduled."""
    from composer.plan.jobs import depended_on

    jobs = depended_on(desired, names)
    if not wanted.services:
        jobs += [name for name, job in desired.jobs.items() if job.scheduled and name not in jobs]
    return jobs


def _ensure_job_images(context: Context, desired: Desired, names: list[str], job: str, images: Images) -> None:
    """Get the images of a job that no service uses."""
    from composer.cli.project.acquire import ensure_images
    from composer.plan.jobs import part_for

    part = part_for(desired, job)
    ensure_images(context, part, [name for name in part.order if name not in names], images)


def _check_enabled(desired: Desired, scale: Iterable[str]) -> None:
    """--scale enables no service, in contrast to the name of a service. Raises CommandError."""
    for name in scale:
        if name not in desired.services:
            raise CommandError(
                f"no such service: {name}: disabled\n"
                f"Enable it with --profile, or name it: composer up --scale {name}=… {name}"
            )


def _check_scale(desired: Desired, scale: dict[str, int]) -> None:
    """A container_name can be given to one container only."""
    for name, service in desired.services.items():
        count = scale.get(name, service.scale)
        if count > 1 and service.container_name:
            raise CommandError(
                f'service "{name}": container_name is "{service.container_name}", a name that only one container can '
                f"have, but scale is {count}"
            )
