"""Bringing a project to what its files say: what up, create, scale and run have in common.

check the wishes → load → images (pull, build) → one request to the supervisor, its events shown
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from composer.cli.errors import UsageError
from composer.cli.scale import parse_scale

if TYPE_CHECKING:
    from composer.cli.flags import Args

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
