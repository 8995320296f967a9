"""Connect a command to the project's supervisor. Imports next to nothing, to start a supervisor as early as
possible."""

from __future__ import annotations

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.run.client import Client

EAGER = ("up", "create")
"""Actions that usually have work to do when no supervisor is running."""


def supervisor_of(context: Context) -> Client:
    from composer.run.client import Client

    early, context.early_fork = context.early_fork, None
    return Client(context.roots, context.project_name, context.environ, context.new_engine, early)


def prepared(context: Context, action: str) -> Client:
    """The project's supervisor; starts it early if it is not running and will probably be needed."""
    supervisor = supervisor_of(context)
    if action in EAGER and not context.dry_run:
        # Load modules that both need once, before forking the supervisor. This opens no files.
        import composer.plan.reconcile
        import composer.plan.up  # noqa: F401

        context.engine  # noqa: B018

        supervisor.prepare()
    return supervisor
