"""Instructions to stages, and which of them a target needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from engine.build import instructions as ins
from engine.build.lex import Source
from engine.build.words import WordError, expand

PREDEFINED = frozenset(
    name
    for upper in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (upper, upper.lower())
)
"""Build arguments that need no ARG, and that do not take part in cache keys (Dockerfile reference, "Predefined
ARGs").
"""


class Stage(Struct, frozen=True):
    """One FROM with what follows. `image` and `platform` are expanded; `base` is the earlier stage it names, else
    None.
    """

    index: int
    name: str
    image: str
    platform: str
    base: int | None
    origin: ins.From
    body: tuple[ins.AnyInstruction, ...]

    @property
    def title(self) -> str:
        return self.name or f"stage-{self.index}"


class Dockerfile(Struct, frozen=True):
    """All stages, and the arguments given before the first FROM, with their values."""

    source: Source
    stages: tuple[Stage, ...]
    global_args: dict[str, str]

    def find(self, name: str) -> Stage | None:
        """A stage by its name, or by its number."""
        for stage in self.stages:
            if stage.name and stage.name == name.lower():
                return stage
        return self.stages[int(name)] if name.isdecimal() and int(name) < len(self.stages) else None


def arrange(
    source: Source,
    instructions: Sequence[ins.AnyInstruction],
    build_args: Mapping[str, str],
    platform_args: Mapping[str, str],
) -> Dockerfile:
    """Split at FROM and resolve what each is based on. Raises BuildFailed."""
    global_args: dict[str, str] = {}
    at = 0
    scope = dict(platform_args)
    while at < len(instructions) and not isinstance(instructions[at], ins.From):
        first = instructions[at]
        if not isinstance(first, ins.Arg):
            raise source.error(
                first.start, "no build stage in current context: the first instruction must be FROM", end=first.end
            )
        for name, default in first.pairs:
            try:
                value = build_args.get(name, expand(default, scope, source.escape) if default is not None else None)
            except WordError as error:
                raise source.error(first.start, str(error), end=first.end) from error
            if value is not None:
                global_args[name] = scope[name] = value
        at += 1
    stages: list[Stage] = []
    while at < len(instructions):
        origin = instructions[at]
        assert isinstance(origin, ins.From)
        end = at + 1
        while end < len(instructions) and not isinstance(instructions[end], ins.From):
            end += 1
        stages.append(_stage(source, origin, tuple(instructions[at + 1 : end]), stages, scope))
        at = end
    if not stages:
        raise source.error(1, "the Dockerfile has no FROM instruction" if source.lines else "the Dockerfile is empty")
    return Dockerfile(source, tuple(stages), global_args)


def _stage(
    source: Source,
    origin: ins.From,
    body: tuple[ins.AnyInstruction, ...],
    earlier: Sequence[Stage],
    scope: Mapping[str, str],
) -> Stage:
    try:
        image = expand(origin.image, scope, source.escape)
        platform = expand(origin.platform, scope, source.escape)
    except WordError as error:
        raise source.error(origin.start, str(error), end=origin.end) from error
    if not image:
        raise source.error(
            origin.start,
            f"base name ({origin.image}) should not be blank",
            hint="Give the ARG before FROM a default or a value.",
        )
    base = next((stage.index for stage in reversed(earlier) if stage.name and stage.name == image.lower()), None)
    if origin.name and any(stage.name == origin.name for stage in earlier):
        raise source.error(origin.start, f"duplicate name {origin.name} for build stages")
    return Stage(len(earlier), origin.name, image, platform, base, origin, body)


def needs(dockerfile: Dockerfile, stage: Stage) -> list[Stage]:
    """The other stages that `stage` uses directly: its base, COPY --from, RUN --mount=from."""
    found: list[Stage] = []
    if stage.base is not None:
        found.append(dockerfile.stages[stage.base])
    for instruction in stage.body:
        names: list[str] = []
        if isinstance(instruction, ins.Copy) and instruction.from_:
            names.append(instruction.from_)
        elif isinstance(instruction, ins.Run):
            names.extend(mount.from_ for mount in instruction.mounts if mount.from_)
        for name in names:
            other = dockerfile.find(name)
            if other is None:
                continue
            if other.index >= stage.index:
                raise dockerfile.source.error(
                    instruction.start, f"invalid from flag value {name}: a stage can only use stages above it"
                )
            found.append(other)
    return found


def order(dockerfile: Dockerfile, target: Stage) -> list[Stage]:
    """The target and all it needs, each after what it needs. The others are not built."""
    wanted: set[int] = set()
    pending = [target]
    while pending:
        stage = pending.pop()
        if stage.index not in wanted:
            wanted.add(stage.index)
            pending.extend(needs(dockerfile, stage))
    return [dockerfile.stages[index] for index in sorted(wanted)]
