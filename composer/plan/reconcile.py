"""The pure heart: (Desired, Snapshot, Options) → Plan. Nothing here reads a clock, a file or the kernel."""

from __future__ import annotations

from composer.plan import lifecycle, up
from composer.plan.desired import Desired
from composer.plan.observed import Snapshot
from composer.plan.operations import Plan
from composer.plan.options import Options


def reconcile(desired: Desired | None, snapshot: Snapshot, options: Options) -> Plan:
    """The operations that bring what there is to what is asked for. `desired` may be None for what needs no file."""
    if options.action in ("up", "create", "run"):
        assert desired is not None
        return up.plan(desired, snapshot, options)
    return lifecycle.plan(desired, snapshot, options)
