"""composer watch: act on changed files as `develop.watch` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.flags import Args, Command, Flag

if TYPE_CHECKING:
    from composer.cli.context import Context

COMMAND = Command(
    "watch",
    "Watch build context for service and rebuild/refresh containers when files are updated",
    "watch [SERVICE...]",
    (
        Flag("no-up", "Do not build and start the services first"),
        Flag("prune", "Remove images that a rebuild leaves without a name", default=True),
        Flag("quiet", "Do not show the builds' output"),
    ),
)
