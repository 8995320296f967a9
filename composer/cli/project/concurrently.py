"""Working on several images concurrently; each failure is reported once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from composer.cli.render.progress import Progress, State

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.run.port import Engine

Task = Callable[["Engine"], None]


def side_by_side(
    context: Context, tasks: Mapping[str, Task], progress: Progress, *, ignore_failures: bool = False
) -> None:
    """Run the tasks in threads, at most --parallel at once, each with its own engine (SQLite connections cannot be shared
    between threads). Raises the first failure when all have ended, unless failures are only shown as warnings."""
    parallel = context.settings.parallel
    limit = parallel if parallel > 0 else max(len(tasks), 1)
    failures: list[Exception] = []

    def run(name: str, task: Task) -> None:
        try:
            task(context.new_engine())
        except Exception as error:
            why = str(error).partition("\n")[0]
            if ignore_failures:
                progress.update(name, "Warning", State.WARNING, detail=why)
            else:
                progress.fail(name, why)
            failures.append(error)

    if len(tasks) == 1:
        for name, task in tasks.items():
            run(name, task)
    elif tasks:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=limit) as pool:
            for future in [pool.submit(run, name, task) for name, task in tasks.items()]:
                future.result()
    if failures and not ignore_failures:
        raise failures[0]
