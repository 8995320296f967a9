"""The planner: (Desired, Snapshot, Options) → Plan. It is a pure function: no clock, no files, no system calls."""

from __future__ import annotations

from composer.plan.desired import Desired
from composer.plan.observed import Snapshot
from composer.plan.operations import Plan
from composer.plan.options import Options


def reconcile(desired: Desired | None, snapshot: Snapshot, options: Options) -> Plan:
    """The operations that lead from the observed to the desired state. `desired` is None for commands without a compose
    file."""
    # Imported when needed: a command needs only one of the two.
    if options.action in ("up", "create", "run"):
        from composer.plan import up

        assert desired is not None
        return up.plan(desired, snapshot, options)
    from composer.plan import lifecycle

    return lifecycle.plan(desired, snapshot, options)
