"""Splits instructions into stages, and determines which of them a target needs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct, structs

from engine.build import instructions as ins
from engine.build.lex import Source, lex
from engine.build.parse import parse_line
from engine.build.words import WordError, expand
from engine.errors import BadReference
from engine.image import reference as references

PREDEFINED = frozenset(
    name
    for upper in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (upper, upper.lower())
)
"""Build arguments that need no ARG, and that do not take part in cache keys (Dockerfile reference, "Predefined
ARGs").
"""


class Stage(Struct, frozen=True):
    """One FROM with what follows. `image` and `platform` are expanded; `base` is the earlier stage it names, else None.
    A `replaced` stage is an additional context with its name: its instructions are not used.
    """

    index: int
    name: str
    image: str
    platform: str
    base: int | None
    origin: ins.From
    body: tuple[ins.AnyInstruction, ...]
    replaced: bool = False

    @property
    def title(self) -> str:
        return self.name or f"stage-{self.index}"


class Dockerfile(Struct, frozen=True):
    """All stages, and the values of an ARG without a default in them: the automatic arguments and those before the
    first FROM. `declared` are the latter's names; `default_args` are the values of all if no argument is given."""

    source: Source
    stages: tuple[Stage, ...]
    global_args: dict[str, str]
    declared: frozenset[str] = frozenset()
    default_args: dict[str, str] = {}

    def find(self, name: str) -> Stage | None:
        """The stage with this name; if several have it, the last one."""
        return next((stage for stage in reversed(self.stages) if stage.name and stage.name == name.lower()), None)

    def numbered(self, name: str) -> Stage | None:
        """The stage to which COPY --from refers, by name or number. Raises ValueError if there is none."""
        if not re.fullmatch(r"[+-]?\d+", name):
            return self.find(name)
        if not 0 <= int(name) < len(self.stages):
            raise ValueError(f"invalid stage index {name}")
        return self.stages[int(name)]


def arrange(
    source: Source,
    instructions: Sequence[ins.AnyInstruction],
    build_args: Mapping[str, str],
    platform_args: Mapping[str, str],
    contexts: Collection[str] = (),
) -> Dockerfile:
    """Split at FROM and resolve what each is based on. Stages that have the name of one of the additional `contexts` are
    replaced by it. Raises BuildFailed."""
    at = next((n for n, one in enumerate(instructions) if isinstance(one, ins.From)), len(instructions))
    scope, declared, defaults = _before_first(source, instructions[:at], build_args, platform_args)
    stages: list[Stage] = []
    while at < len(instructions):
        origin = instructions[at]
        assert isinstance(origin, ins.From)
        end = at + 1
        while end < len(instructions) and not isinstance(instructions[end], ins.From):
            end += 1
        if origin.name and origin.name in contexts:
            stages.append(Stage(len(stages), origin.name, origin.name, "", None, origin, (), True))
        else:
            stages.append(_stage(source, origin, tuple(instructions[at + 1 : end]), stages, scope))
        at = end
    if not stages:
        raise source.error(1, "the Dockerfile has no FROM instruction" if source.lines else "the Dockerfile is empty")
    return Dockerfile(source, tuple(stages), scope, frozenset(declared), defaults)


def _before_first(
    source: Source,
    instructions: Sequence[ins.AnyInstruction],
    build_args: Mapping[str, str],
    platform_args: Mapping[str, str],
) -> tuple[dict[str, str], set[str], dict[str, str]]:
    """The arguments that are declared before the first FROM: their values, their names, their values without build
    arguments. Raises BuildFailed."""
    defaults, declared = dict(platform_args), set[str]()
    scope = {name: build_args.get(name, value) for name, value in platform_args.items()}
    for first in instructions:
        if not isinstance(first, ins.Arg):
            raise source.error(
                first.start, "no build stage in current context: the first instruction must be FROM", end=first.end
            )
        for name, default in first.pairs:
            try:
                value = build_args.get(name, expand(default, scope, source.escape) if default is not None else None)
            except WordError as error:
                raise source.error(first.start, str(error), end=first.end) from error
            declared.add(name)
            if value is not None:
                scope[name] = value
            if default is not None:
                defaults[name] = expand(default, defaults, source.escape)
    return scope, declared, defaults


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
    base = next((stage.index for stage in reversed(earlier) if stage.name and stage.name == image), None)
    return Stage(len(earlier), origin.name, image, platform, base, origin, body)


def check_names(dockerfile: Dockerfile) -> None:
    """Whether every stage's image has a valid name and no stage uses itself, as BuildKit checks it also in stages that are
    not built. Raises BuildFailed."""
    for stage in dockerfile.stages:
        for instruction in stage.body:
            for _, other in _uses(dockerfile, instruction):
                if other is stage:
                    start, end = instruction.start, instruction.end
                    raise dockerfile.source.error(start, f"stage {stage.title} depends on itself", end=end)
        if (
            stage.base is not None
            or stage.image.lower() == "scratch"
            or stage.replaced
            or references.is_id(stage.image)
        ):
            continue
        try:
            references.parse(stage.image)
        except BadReference as error:
            start, end = stage.origin.start, stage.origin.end
            raise dockerfile.source.error(start, error.message, hint=error.hint, end=end) from error


def needs(dockerfile: Dockerfile, stage: Stage) -> list[Stage]:
    """The other stages that `stage` uses directly: its base, COPY --from, RUN --mount=from, and those of its base's
    triggers."""
    found: list[Stage] = []
    body = stage.body
    if stage.base is not None:
        base = dockerfile.stages[stage.base]
        found.append(base)
        texts = [one.instruction for one in base.body if isinstance(one, ins.Onbuild)]
        body = (*triggers(texts, stage), *body)
    for instruction in body:
        for name, other in _uses(dockerfile, instruction):
            if other.index >= stage.index:
                raise dockerfile.source.error(
                    instruction.start, f"invalid from flag value {name}: a stage can only use stages above it"
                )
            if not other.replaced:
                found.append(other)
    return found


def triggers(texts: Iterable[str], stage: Stage) -> list[ins.AnyInstruction]:
    """ONBUILD's instructions, with the position of the FROM of `stage`. Raises BuildFailed."""
    found: list[ins.AnyInstruction] = []
    for text in texts:
        source = lex(text, f"ONBUILD of {stage.image}")
        if len(source.lines) != 1:
            raise source.error(1, "an ONBUILD trigger must be one instruction")
        instruction = parse_line(source.lines[0], source)
        found.append(structs.replace(instruction, start=stage.origin.start, end=stage.origin.end))
    return found


def _uses(dockerfile: Dockerfile, instruction: ins.AnyInstruction) -> Iterator[tuple[str, Stage]]:
    try:
        if isinstance(instruction, ins.Copy) and instruction.from_:
            if other := dockerfile.numbered(instruction.from_):
                yield instruction.from_, other
        elif isinstance(instruction, ins.Run):
            for mount in instruction.mounts:
                if mount.from_ and (other := dockerfile.find(mount.from_)):
                    yield mount.from_, other
    except ValueError as error:
        raise dockerfile.source.error(instruction.start, str(error), end=instruction.end) from error


def order(dockerfile: Dockerfile, target: Stage) -> list[Stage]:
    """The target and all stages that it needs, in order of their dependencies. The others are not built."""
    wanted: set[int] = set()
    pending = [target]
    while pending:
        stage = pending.pop()
        if stage.index not in wanted:
            wanted.add(stage.index)
            pending.extend(needs(dockerfile, stage))
    return [dockerfile.stages[index] for index in sorted(wanted)]
