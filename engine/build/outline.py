"""The inputs and targets of a Dockerfile, found without building (BuildKit's subrequests outline and targets).

A comment directly before ARG or FROM that begins with the name of the argument or stage describes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from engine.build import instructions as ins
from engine.build.lex import Line, Source
from engine.build.mount_flag import run_mount
from engine.build.stages import Dockerfile, Stage, needs, order, triggers
from engine.build.words import Lookups, WordError, expand
from engine.spec.outline import Outline, Parameter, Target, Targets


class _Argument(Struct, frozen=True):
    """A build argument, and the arguments that its default uses."""

    parameter: Parameter
    uses: frozenset[str] = frozenset()


class _Offer(Struct):
    """The inputs of one stage: the arguments that it declares, those that it uses, and its mounts."""

    known: dict[str, _Argument]
    values: dict[str, str]
    used: set[str] = set()
    secrets: dict[str, Parameter] = {}
    ssh: dict[str, Parameter] = {}

    def arguments(self) -> dict[str, Parameter]:
        """The arguments that are used, directly or in the default of another."""
        used: set[str] = set()
        pending = list(self.used)
        while pending:
            name = pending.pop()
            if name in self.known and name not in used:
                used.add(name)
                pending += self.known[name].uses
        return {name: one.parameter for name, one in self.known.items() if name in used}


def targets(source: Source, instructions: Iterable[ins.AnyInstruction]) -> Targets:
    """The stages of a Dockerfile."""
    pairs = zip(source.lines, instructions, strict=True)
    stages = [(line, one) for line, one in pairs if isinstance(one, ins.From)]
    found = [
        Target(name=one.name, default=number == len(stages), description=_description(line, one.name), base=one.image,
               platform=one.platform, start=one.start, end=one.end)
        for number, (line, one) in enumerate(stages, 1)
    ]  # fmt: skip
    return Targets(targets=tuple(found), text=source.text)


def outline(
    dockerfile: Dockerfile,
    instructions: Sequence[ins.AnyInstruction],
    target: Stage,
    build_args: Mapping[str, str],
    environment: Callable[[str], Mapping[str, str] | None],
) -> Outline:
    """The inputs that the stage `target` accepts; `environment` gives the variables of a base image, None if they are
    not known. Raises BuildFailed for a Dockerfile that cannot be built."""
    walk = _Walk(dockerfile, instructions, build_args, environment)
    offers: dict[int, _Offer] = {}
    for stage in order(dockerfile, target):
        offers[stage.index] = walk.stage(stage, offers)
    args, secrets, ssh = dict[str, Parameter](), dict[str, Parameter](), dict[str, Parameter]()
    for stage in _nearest_first(dockerfile, target):
        offer = offers[stage.index]
        for total, more in ((args, offer.arguments()), (secrets, offer.secrets), (ssh, offer.ssh)):
            total.update({name: one for name, one in more.items() if name not in total})
    return Outline(
        name=target.name,
        description=_description(walk.lines[target.origin.start], target.name),
        args=_by_line(args),
        secrets=_by_line(secrets),
        ssh=_by_line(ssh),
        text=dockerfile.source.text,
    )


def _by_line(found: Mapping[str, Parameter]) -> tuple[Parameter, ...]:
    return tuple(sorted(found.values(), key=lambda one: one.start))


def _nearest_first(dockerfile: Dockerfile, target: Stage) -> Iterable[Stage]:
    """The stage and all stages that it uses, directly or indirectly; each once."""
    pending, seen = [target], list[Stage]()
    while pending:
        stage = pending.pop(0)
        if stage not in seen:
            seen.append(stage)
            pending = [*needs(dockerfile, stage), *pending]
    return seen


def _description(line: Line, name: str) -> str:
    if not name:
        return ""
    return next((text.removeprefix(f"{name} ") for text in line.comments if text.startswith(f"{name} ")), "")


class _Walk:
    def __init__(
        self,
        dockerfile: Dockerfile,
        instructions: Sequence[ins.AnyInstruction],
        build_args: Mapping[str, str],
        environment: Callable[[str], Mapping[str, str] | None],
    ) -> None:
        self.dockerfile, self.source, self.build_args = dockerfile, dockerfile.source, build_args
        self.environment = environment
        self.lines = {line.start: line for line in self.source.lines}
        self.globals: dict[str, _Argument] = {}
        for one in instructions:
            if not isinstance(one, ins.Arg):
                break
            for name, default in one.pairs:
                lookups = Lookups(set(), set())
                if default is not None and name not in build_args:
                    self._expand(one, default, dockerfile.global_args, lookups)
                value = dockerfile.global_args.get(name, "")
                self.globals[name] = _Argument(self._argument(one, name, value), frozenset(lookups.found - {name}))

    def stage(self, stage: Stage, offers: Mapping[int, _Offer]) -> _Offer:
        """Raises BuildFailed."""
        base = offers[stage.base] if stage.base is not None else None
        values = base.values if base else self.environment(stage.image) or {}
        found = _Offer(dict(base.known if base else self.globals), dict(values))
        lookups = Lookups(set(), set())
        for text in (stage.origin.image, stage.origin.platform):
            self._expand(stage.origin, text, self.dockerfile.global_args, lookups)
        found.used |= lookups.found
        left: list[ins.AnyInstruction] = []
        if stage.base is not None:
            body = self.dockerfile.stages[stage.base].body
            left = triggers([one.instruction for one in body if isinstance(one, ins.Onbuild)], stage)
        for instruction in (*left, *stage.body):
            if isinstance(instruction, ins.Arg):
                self._declare(instruction, found)
            elif isinstance(instruction, ins.Env):
                expanded = [
                    (self._expand(instruction, name, found.values), self._expand(instruction, value, found.values))
                    for name, value in instruction.pairs
                ]
                found.values.update(expanded)
            elif isinstance(instruction, ins.Run):
                self._mounts(instruction, found)
        return found

    def _declare(self, one: ins.Arg, found: _Offer) -> None:
        scope = self.dockerfile.global_args
        for name, default in one.pairs:
            inherited = default is None and name not in self.build_args and name in scope
            value = self.build_args.get(name)
            if value is None:
                value = scope.get(name) if default is None else self._expand(one, default, found.values)
            if value is not None:
                found.values[name] = value
            if not inherited:
                found.known[name] = _Argument(self._argument(one, name, value or ""))
            found.used.add(name)

    def _argument(self, one: ins.Arg, name: str, value: str) -> Parameter:
        line = self.lines.get(one.start)
        description = _description(line, name) if line else ""
        return Parameter(name=name, description=description, value=value, start=one.start, end=one.end)

    def _mounts(self, one: ins.Run, found: _Offer) -> None:
        for text in one.mounts:
            try:
                mount = run_mount(text.text, lambda word: self._expand(one, word, found.values))
            except ValueError as error:
                raise self.source.error(one.start, str(error), end=one.end) from error
            if mount.type in ("secret", "ssh"):
                name = mount.secret if mount.type == "secret" else mount.id or "default"
                of_type = found.secrets if mount.type == "secret" else found.ssh
                of_type.setdefault(name, Parameter(name=name, required=mount.required, start=one.start, end=one.end))

    def _expand(
        self, one: ins.AnyInstruction, text: str, values: Mapping[str, str], lookups: Lookups | None = None
    ) -> str:
        try:
            return expand(text, values, self.source.escape, lookups=lookups)
        except WordError as error:
            raise self.source.error(one.start, str(error), end=one.end) from error
