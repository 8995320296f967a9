"""Bringing a project to what its files say: what up, create, scale and run have in common.

check the wishes → load → images (pull, build) → one request to the supervisor, its events shown
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from msgspec import Struct

from composer.cli.errors import CommandError, UsageError
from composer.cli.scale import parse_scale

if TYPE_CHECKING:
    from composer.cli.context import Context
    from composer.cli.flags import Args
    from composer.plan.desired import Desired
    from composer.run.client import Client

PULL_POLICIES = ("policy", "always", "missing", "never", "build")


class Wishes(Struct, frozen=True, kw_only=True):
    """What the command line asks for beyond the files. `pull` "policy" is what each service says."""

    services: tuple[str, ...] = ()
    scale: dict[str, int] = {}
    start: bool = True
    build: bool = False
    no_build: bool = False
    pull: str = "policy"
    quiet_pull: bool = False
    quiet_build: bool = False
    force_recreate: bool = False
    no_recreate: bool = False
    always_recreate_deps: bool = False
    renew_anon_volumes: bool = False
    no_deps: bool = False
    remove_orphans: bool = False
    yes: bool = False
    timeout: int | None = None


def wishes_of(args: Args, *, start: bool = True) -> Wishes:
    """The wishes in the flags of `up` or `create`. UsageError when they contradict each other."""
    if args.build and args.no_build:
        raise UsageError("--build and --no-build are incompatible")
    if args.force_recreate and args.no_recreate:
        raise UsageError("--force-recreate and --no-recreate are incompatible")
    if args.pull not in PULL_POLICIES:
        raise UsageError(f'invalid --pull option "{args.pull}", not one of always, missing, never')
    known = {name: getattr(args, name) for name in Wishes.__struct_fields__ if hasattr(args, name)}
    known["scale"] = parse_scale(args.scale, "--scale option")
    return Wishes(**{**known, "services": tuple(args.positional), "start": start})


def converge(context: Context, wishes: Wishes) -> int:
    """Get the images, then make the project what its files say; the exit code. CommandError for what failed."""
    from composer.cli.change import prepared

    supervisor = prepared(context, "up" if wishes.start else "create")
    try:
        return _converge(context, wishes, supervisor)
    finally:
        supervisor.close()


def _converge(context: Context, wishes: Wishes, supervisor: Client) -> int:
    from composer.cli.acquire import ensure_images, with_dependencies
    from composer.cli.change import change

    context.check_services((*wishes.services, *wishes.scale))
    desired = context.desired
    _check_scale(desired, wishes.scale)
    ensure_images(
        context,
        desired,
        with_dependencies(desired, wishes.services, dependencies=not wishes.no_deps),
        build=wishes.build,
        no_build=wishes.no_build,
        pull=wishes.pull,
        quiet_pull=wishes.quiet_pull,
        quiet_build=wishes.quiet_build,
    )
    return change(
        context,
        "up" if wishes.start else "create",
        services=wishes.services,
        scale=wishes.scale,
        force_recreate=wishes.force_recreate,
        no_recreate=wishes.no_recreate,
        always_recreate_deps=wishes.always_recreate_deps,
        renew_anon_volumes=wishes.renew_anon_volumes,
        no_deps=wishes.no_deps,
        remove_orphans=wishes.remove_orphans,
        recreate_volumes=wishes.yes,
        timeout=wishes.timeout,
        supervisor=supervisor,
    )


def _check_scale(desired: Desired, scale: dict[str, int]) -> None:
    """A name of the user's own can be given to one container only."""
    for name, service in desired.services.items():
        count = scale.get(name, service.scale)
        if count > 1 and service.container_name:
            raise CommandError(
                f'service "{name}": container_name is "{service.container_name}", a name that only one container can '
                f"have, but scale is {count}"
            )
