"""Settings of a project that are unsupported or have no effect, as data. They become lines for the user once positions
are known.

Problems are found once and cached with the translated project, because line numbers change with every edit and problems
do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from msgspec import Struct, structs

from composer.plan.desired import Desired

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.load.notice import Notice

Path = tuple[str | int, ...]
"""Keys and indices from the top: ("services", "web", "ports", 0)."""


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`path` is the setting, `services` the services and jobs that it concerns. A `warning` does not prevent their
    creation; without services it concerns the whole project."""

    path: tuple[str | int, ...]
    why: str
    services: tuple[str, ...] = ()
    warning: bool = False


def placed(
    desired: Desired,
    problems: Iterable[Problem],
    where: Callable[[Path], str],
    *,
    refused: Mapping[str, tuple[str, ...]] | None = None,
    clashes: Mapping[str, dict[str, str]] | None = None,
    warnings: Iterable[Notice] = (),
) -> Desired:
    """The project with a line for each problem: refusals in their services, warnings at the top level.

    `where` returns the position of a path, "file:line:column". `refused` and `clashes` are lines from loading, by
    service; `warnings` are further ones.
    """
    names = (*desired.services, *desired.jobs)
    lines: dict[str, list[str]] = {name: list((refused or {}).get(name, ())) for name in names}
    texts: dict[str, tuple[str, ...]] = {str(line): (line.service,) if line.service else () for line in warnings}
    for problem in problems:
        line = _line(problem, where(problem.path))
        if problem.warning:
            texts[line] = problem.services
            continue
        for name in problem.services:
            lines[name].append(line)
    services = {
        name: structs.replace(
            service, refused=tuple(dict.fromkeys(lines[name])), clashes=dict((clashes or {}).get(name, {}))
        )
        for name, service in desired.services.items()
    }
    jobs = {
        name: structs.replace(job, service=structs.replace(job.service, refused=tuple(dict.fromkeys(lines[name]))))
        for name, job in desired.jobs.items()
    }
    return structs.replace(desired, services=services, jobs=jobs, warnings=texts)


def _line(problem: Problem, place: str) -> str:
    name = dotted(problem.path)
    return f"{place}: {name}: {problem.why}" if place and place != name else f"{name}: {problem.why}"


def dotted(path: Path) -> str:
    """services.web.ports[0]"""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text
