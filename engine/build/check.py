"""Checking a Dockerfile without building it, as BuildKit's linter does (`composer build --check`)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from engine.build import instructions as ins
from engine.build import metadata, rules
from engine.build.lex import Line, Source
from engine.build.mount_flag import run_mount
from engine.build.stages import Dockerfile, Stage
from engine.build.words import Lookups, WordError, expand, expand_heredoc, expand_words
from engine.errors import BadReference
from engine.ignore import Ignore
from engine.image import reference as references
from engine.spec.image import BuildWarning

_DISTANCE = 3


class Warning(Struct, frozen=True):
    """A rule's message about the lines `start` to `end`."""

    rule: rules.Rule
    text: str
    start: int
    end: int


Environment = Callable[[str], Mapping[str, str] | None]
"""The environment of a base image; None if it is unknown."""


def check(
    dockerfile: Dockerfile,
    instructions: Iterable[ins.AnyInstruction],
    environment: Environment,
    ignore: Ignore,
    stages: Iterable[Stage] | None = None,
) -> tuple[list[Warning], bool]:
    """The warnings about the text and about `stages` (None: all), in the order of lines, and whether they are errors.

    Raises BuildFailed for options of `# check=` that do not exist."""
    found = _Check(dockerfile, environment, ignore)
    found.text(list(instructions))
    for stage in dockerfile.stages if stages is None else stages:
        found.stage(stage)
    return sorted(found.warnings, key=lambda warning: warning.start), found.options.error


def described(source: Source, warning: Warning, name: str) -> BuildWarning:
    """The warning as the engine's callers get it; `name` is the Dockerfile's."""
    return BuildWarning(
        rule=warning.rule.name,
        url=warning.rule.page,
        detail=warning.text,
        start=warning.start,
        end=warning.end,
        text=describe(source, warning, name),
    )


def describe(source: Source, warning: Warning, name: str) -> str:
    """The warning with the lines it is about, as `docker build --check` shows it."""
    lines = source.text.split("\n")
    start, end = warning.start, min(warning.end, len(lines))
    room, used = (4 if start == end else 2), 0
    first, last = start, end
    while used < room:
        if first > 1:
            first, used = first - 1, used + 1
        if last < len(lines):
            last, used = last + 1, used + 1
        used += 1
    shown = "".join(
        f" {number:>3} | {'>>> ' if start <= number <= end else '    '}{lines[number - 1]}\n"
        for number in range(first, last + 1)
    )
    rule = "-" * 20
    return (
        f"WARNING: {warning.rule.name} - {warning.rule.page}\n{warning.text}\n{name}:{start}\n{rule}\n{shown}{rule}\n"
    )


def suggestion(name: str, options: Iterable[str], mark: str = "") -> str:
    """` (did you mean …?)` for a name that is at most two letters away."""
    near = [(distance, other) for other in options if (distance := _distance(name, other)) < _DISTANCE]
    return f" (did you mean {mark}{min(near)[1]}?)" if near else ""


def _distance(one: str, other: str) -> int:
    """Levenshtein's: the letters to add, remove or replace."""
    row = list(range(len(other) + 1))
    for at, char in enumerate(one, 1):
        above, row[0] = row[0], at
        for column, letter in enumerate(other, 1):
            above, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, above + (char != letter))
    return row[-1]


class _Check:
    def __init__(self, dockerfile: Dockerfile, environment: Environment, ignore: Ignore) -> None:
        self.dockerfile, self.environment, self.ignore = dockerfile, environment, ignore
        self.source = dockerfile.source
        self.lines = {line.start: line for line in self.source.lines}
        self.warnings: list[Warning] = []
        try:
            self.options = rules.options(self.source.directives.get("check", ""))
        except ValueError as error:
            raise self.source.error(1, str(error)) from error
        self.states: dict[int, tuple[dict[str, str], set[str], bool, bool]] = {}

    def warn(self, rule: rules.Rule, start: int, end: int, /, **fields: str) -> None:
        options = self.options
        line = self.lines.get(start)
        for comment in line.comments if line else ():
            if match := re.fullmatch(r"check\s*=\s*(\S+).*", comment, re.IGNORECASE):
                try:
                    more = rules.options(match[1])
                except ValueError:
                    continue
                options = rules.Options(options.skip | more.skip, options.experimental | more.experimental)
        if options.applies(rule):
            self.warnings.append(Warning(rule, rule.says(**fields), start, end))

    # -- what the text alone says

    def text(self, instructions: list[ins.AnyInstruction]) -> None:
        for line in self.source.lines:
            if line.gap:
                self.warn(rules.NO_EMPTY_CONTINUATION, line.end, line.end)
        self._casing()
        names: set[str] = set()
        for line, one in zip(self.source.lines, instructions, strict=True):
            place = (one.start, one.end)
            if isinstance(one, ins.From):
                self._from(line, one)
                if one.name in ("context", "scratch"):
                    self.warn(rules.RESERVED_STAGE_NAME, *place, qname=one.name)
                if one.name and one.name in names:
                    self.warn(rules.DUPLICATE_STAGE_NAME, *place, qname=one.name)
                names.add(one.name)
                self._description(line, "FROM", [one.name] if one.name else [])
            elif isinstance(one, ins.Arg):
                self._description(line, "ARG", [name for name, _ in one.pairs])
            elif isinstance(one, ins.Maintainer):
                self.warn(rules.MAINTAINER_DEPRECATED, *place)

    def _from(self, line: Line, one: ins.From) -> None:
        words = line.rest.split()
        if len(words) != 3:
            return
        if words[2] != words[2].lower():
            self.warn(rules.STAGE_NAME_CASING, line.start, line.end, name=words[2])
        keyword = line.word
        same = words[1].lower() if keyword == keyword.lower() else words[1].upper()
        if keyword in (keyword.lower(), keyword.upper()) and words[1] != same:
            self.warn(rules.FROM_AS_CASING, line.start, line.end, as_=words[1], from_=keyword)

    def _casing(self) -> None:
        """The rule for the case of keywords, from the first FROM on: all in the case of the majority."""
        keywords = [line.keyword for line in self.source.lines]
        lines = self.source.lines[keywords.index("FROM") :] if "FROM" in keywords else ()
        lower = sum(line.word == line.word.lower() for line in lines)
        upper = sum(line.word == line.word.upper() for line in lines)
        change, casing = (str.lower, "lowercase") if lower > upper else (str.upper, "uppercase")
        for line in lines:
            if line.word != change(line.word):
                self.warn(rules.CONSISTENT_INSTRUCTION_CASING, line.start, line.end, name=line.word, casing=casing)

    def _description(self, line: Line, keyword: str, names: list[str]) -> None:
        if line.comments and names and line.comments[-1].split(" ")[0] not in names:
            key = names[0] if len(names) == 1 else "<arg_key>"
            self.warn(rules.INVALID_DEFINITION_DESCRIPTION, line.start, line.end, name=keyword, key=key)

    # -- what the variables say

    def stage(self, stage: Stage) -> None:
        self._base(stage)
        known: Mapping[str, str] | None = {}
        declared: set[str] = set()
        absolute = False
        if stage.base is not None:
            known, declared, absolute, complete = self.states[stage.base]
            known = known if complete else None
        elif stage.image != "scratch" and not stage.replaced:
            known = self.environment(stage.image)
        walk = _Walk(self, dict(known or {}), set(declared), absolute, complete=known is not None)
        for instruction in stage.body:
            walk.one(instruction)
        self.states[stage.index] = (walk.values, walk.declared, walk.absolute, walk.complete)

    def _base(self, stage: Stage) -> None:
        origin, place = stage.origin, (stage.origin.start, stage.origin.end)
        scope, escape = self.dockerfile.global_args, self.source.escape
        default = _expanded(origin.image, self.dockerfile.default_args, escape, Lookups(set(), set()))
        if "$" in origin.image and not _is_name(default or ""):
            self.warn(rules.INVALID_DEFAULT_ARG_IN_FROM, *place, name=origin.image)
        for text in (origin.image, origin.platform):
            lookups = Lookups(set(), set())
            result = _expanded(text, scope, self.source.escape, lookups)
            for name in sorted(lookups.missing - self.dockerfile.declared):
                hint = suggestion(name, {*scope, *self.dockerfile.declared})
                self.warn(rules.UNDEFINED_ARG_IN_FROM, *place, name=name, suggestion=hint)
            if text and text == origin.platform:
                self._platform(stage, text, result, lookups)

    def _platform(self, stage: Stage, text: str, result: str | None, lookups: Lookups) -> None:
        place = (stage.origin.start, stage.origin.end)
        if not lookups.found and not lookups.missing:
            if not any(part and part in stage.name for part in text.split("/")[:2]):
                self.warn(rules.FROM_PLATFORM_FLAG_CONST_DISALLOWED, *place, qplatform=text)
        elif lookups.found == {"TARGETPLATFORM"} and not lookups.missing:
            if result == self.dockerfile.global_args.get("TARGETPLATFORM"):
                self.warn(rules.REDUNDANT_TARGET_PLATFORM, *place, name=text)


class _Walk:
    """One stage's instructions in order; `complete` says that its base's variables are known."""

    def __init__(
        self, check: _Check, values: dict[str, str], declared: set[str], absolute: bool, *, complete: bool
    ) -> None:
        self.check, self.values, self.declared, self.absolute = check, values, declared, absolute
        self.complete = complete
        self.values.setdefault("PATH", "")
        self.shell = False
        self.used: dict[str, ins.AnyInstruction] = {}

    def warn(self, rule: rules.Rule, one: ins.AnyInstruction, /, **fields: str) -> None:
        self.check.warn(rule, one.start, one.end, **fields)

    def one(self, one: ins.AnyInstruction) -> None:
        for name in self._missing(one) if self.complete else ():
            self.warn(rules.UNDEFINED_VAR, one, name=name, suggestion=suggestion(name, self.values, "$"))
        if isinstance(one, ins.Arg):
            self._arg(one)
        elif isinstance(one, (ins.Env, ins.Label)):
            self._pairs(one)
        elif isinstance(one, ins.Workdir):
            path = self._expand(one.path) or ""
            if not self.absolute and not path.startswith("/"):
                self.warn(rules.WORKDIR_RELATIVE_PATH, one, qpath=path)
            self.absolute = True
        elif isinstance(one, ins.Expose):
            self._expose(one)
        elif isinstance(one, ins.Copy) and not one.from_:
            self._copy(one)
        elif isinstance(one, ins.Shell):
            self.shell = True
        elif isinstance(one, (ins.Cmd, ins.Entrypoint, ins.Healthcheck)):
            self._once(one)

    def _expand(self, text: str, lookups: Lookups | None = None) -> str | None:
        return _expanded(text, self.values, self.check.source.escape, lookups or Lookups(set(), set()))

    def _missing(self, one: ins.AnyInstruction) -> list[str]:
        """Variables without a value in the words that are expanded, word by word."""
        found: list[str] = []
        for text in _words(one):
            lookups = Lookups(set(), set())
            self._expand(text, lookups)
            found += sorted(lookups.missing - self.declared)
        lookups = Lookups(set(), set())
        if isinstance(one, ins.Copy):
            for file in one.files:
                if file.expand:
                    try:
                        expand_heredoc(file.content, self.values, lookups=lookups)
                    except WordError:
                        continue
        elif isinstance(one, ins.Run):
            for mount in one.mounts:
                try:
                    run_mount(mount.text, lambda text: self._expand(text, lookups) or "")
                except ValueError:
                    continue
        return [*found, *sorted(lookups.missing - self.declared)]

    def _arg(self, one: ins.Arg) -> None:
        scope = self.check.dockerfile.global_args
        for name, default in one.pairs:
            if rules.is_secret(name):
                self.warn(rules.SECRETS_USED_IN_ARG_OR_ENV, one, name="ARG", qkey=name)
            value = scope.get(name) if default is None else self._expand(default)
            self.declared.add(name)
            if value is not None:
                self.values[name] = value

    def _pairs(self, one: ins.Env | ins.Label) -> None:
        keyword = "ENV" if isinstance(one, ins.Env) else "LABEL"
        if one.old_form:
            self.warn(rules.LEGACY_KEY_VALUE_FORMAT, one, name=keyword)
        if isinstance(one, ins.Env):
            found = {self._expand(name) or name: self._expand(value) or "" for name, value in one.pairs}
            for name in found:
                if rules.is_secret(name):
                    self.warn(rules.SECRETS_USED_IN_ARG_OR_ENV, one, name="ENV", qkey=name)
            self.values.update(found)

    def _expose(self, one: ins.Expose) -> None:
        for text in one.ports:
            try:
                words = expand_words(text, self.values, self.check.source.escape)
                for port in words:
                    metadata.ports(port)
                    protocol = port.partition("/")[2]
                    if protocol != protocol.lower():
                        self.warn(rules.EXPOSE_PROTO_CASING, one, port=port)
                    if ":" in port:
                        self.warn(rules.EXPOSE_INVALID_FORMAT, one, port=port)
            except ValueError:  # the build says what is wrong
                continue

    def _copy(self, one: ins.Copy) -> None:
        if not self.check.ignore or self.check.ignore.has_exceptions:
            return
        for text in one.sources:
            path = posixpath.normpath(self._expand(text) or "/").strip("/")
            if path not in ("", ".") and "://" not in text and self.check.ignore.matches(path):
                self.warn(rules.COPY_IGNORED_FILE, one, name="Add" if one.add else "Copy", qfile=path)

    def _once(self, one: ins.Cmd | ins.Entrypoint | ins.Healthcheck) -> None:
        keyword = type(one).__name__.upper()
        if keyword in self.used:
            # The one before is the one that means nothing.
            self.warn(rules.MULTIPLE_INSTRUCTIONS_DISALLOWED, self.used[keyword], name=keyword)
        self.used[keyword] = one
        if not isinstance(one, ins.Healthcheck) and one.command.shell and not self.shell:
            self.warn(rules.JSON_ARGS_RECOMMENDED, one, name=keyword)


def _words(one: ins.AnyInstruction) -> Iterable[str]:
    """The texts of an instruction in which variables are replaced."""
    if isinstance(one, ins.Arg):
        return [default for _, default in one.pairs if default is not None]
    if isinstance(one, (ins.Env, ins.Label)):
        return [text for pair in one.pairs for text in pair]
    if isinstance(one, ins.Copy):
        return [*one.sources, one.target, one.chown, one.chmod, one.checksum]
    if isinstance(one, ins.Volume):
        return one.paths
    if isinstance(one, ins.User):
        return [one.user]
    if isinstance(one, ins.Workdir):
        return [one.path]
    return [one.signal] if isinstance(one, ins.Stopsignal) else ()


def _is_name(text: str) -> bool:
    try:
        references.parse(text)
    except BadReference:
        return False
    return True


def _expanded(text: str, values: Mapping[str, str], escape: str, lookups: Lookups) -> str | None:
    try:
        return expand(text, values, escape, lookups=lookups)
    except WordError:  # the build says what is wrong
        return None
