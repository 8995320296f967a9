"""Logical lines to typed instructions: a table of one small function for each keyword."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable

from engine.build import instructions as ins
from engine.build.flags import Flags, duration
from engine.build.lex import BLANKS, Line, Source, parse_heredoc, split_blanks, take_flags
from engine.build.mount_flag import mount_text
from engine.build.words import split


class ProblemError(ValueError):
    """An error in an instruction; the caller adds the position."""


def parse(source: Source) -> list[ins.AnyInstruction]:
    """All instructions in order. Raises BuildFailed with file, line and the lines in question."""
    return [parse_line(line, source) for line in source.lines]


def parse_line(line: Line, source: Source) -> ins.AnyInstruction:
    """One instruction."""
    parser = _PARSERS.get(line.keyword)
    if parser is None:
        from difflib import get_close_matches  # late: only for a mistake

        near = get_close_matches(line.keyword, _PARSERS, 1)
        hint = f"Did you mean {near[0]}?" if near else ""
        raise source.error(line.start, f"unknown instruction: {line.word}", hint=hint, end=line.end)
    try:
        flags = Flags(line.flags)
        if not line.rest and line.keyword not in _MAYBE_EMPTY:
            raise ProblemError(f"{line.keyword} requires at least one argument")
        found = parser(_Args(line, line.rest, flags, source))
        if line.keyword not in _ANY_FLAGS:
            flags.finish(line.keyword)
    except ValueError as error:
        raise source.error(line.start, str(error), end=line.end) from error
    return found


class _Args:
    """The input of a parser: the line, the text after the flags, the flags."""

    def __init__(self, line: Line, rest: str, flags: Flags, source: Source) -> None:
        self.line, self.rest, self.flags, self.source = line, rest, flags, source
        self.place = {"start": line.start, "end": line.end}
        self.text = f"{line.keyword} {' '.join(line.text.split()[1:])}"

    def words(self) -> list[str]:
        """Words separated by blanks; quoted blanks do not separate."""
        return split(self.rest, self.source.escape)

    def blanks(self) -> list[str]:
        """Words separated by blanks; quotes have no meaning."""
        return split_blanks(self.rest)

    def array(self) -> tuple[str, ...] | None:
        """The exec form: a JSON array of strings; None when it is not valid JSON, which makes it a shell form."""
        if not self.rest.startswith("["):
            return None
        try:
            found = json.loads(self.rest, parse_constant=_refuse)
        except ValueError:
            return None
        if not isinstance(found, list):
            return None
        if not all(isinstance(item, str) for item in found):
            raise ProblemError(f"the JSON array of {self.line.keyword} may hold only strings")
        return tuple(found)

    def command(self) -> ins.Command:
        array = self.array()
        return ins.Command((self.rest,) if self.rest else (), True) if array is None else ins.Command(array, False)

    def pairs(self) -> tuple[tuple[ins.Pair, ...], bool]:
        """`name=value …`, or the old form `name value`, and whether it was the latter."""
        words = self.words()
        if not words or "=" not in words[0]:
            name, *value = BLANKS.split(self.rest, maxsplit=1)
            if not value:
                raise ProblemError(f"{self.line.keyword} must have two arguments: a name and a value")
            return ((name, value[0]),), True
        found: list[ins.Pair] = []
        for word in words:
            name, equals, text = word.partition("=")
            if not equals:
                raise ProblemError(f"can't find = in {word!r}: expected name=value")
            if not name:
                raise ProblemError(f"{self.line.keyword} names cannot be blank")
            found.append((name, text))
        return tuple(found), False


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _from(args: _Args) -> ins.From:
    words = args.blanks()
    if len(words) == 3 and words[1].upper() == "AS":
        name = words[2].lower()
        if not re.fullmatch(r"[a-z][a-z0-9-_.]*", name):
            raise ProblemError(
                f"invalid name for a build stage: {words[2]!r}; it must start with a letter and hold only a-z0-9-_."
            )
    elif len(words) == 1:
        name = ""
    else:
        raise ProblemError("FROM requires either one argument, or three: FROM <image> AS <name>")
    return ins.From(image=words[0], name=name, platform=args.flags.text("platform"), text=args.text, **args.place)


def _arg(args: _Args) -> ins.Arg:
    pairs: list[tuple[str, str | None]] = []
    for word in args.words():
        name, equals, value = word.partition("=")
        if not name:
            raise ProblemError("ARG names cannot be blank")
        pairs.append((name, value if equals else None))
    return ins.Arg(pairs=tuple(pairs), text=args.text, **args.place)


def _run(args: _Args) -> ins.Run:
    mounts = tuple(mount_text(text) for text in args.flags.every("mount"))
    network, security = args.flags.text("network", "default"), args.flags.text("security", "sandbox")
    if network not in ("default", "none", "host"):
        raise ProblemError(f"unsupported network mode {network!r}: default, none or host")
    if security not in ("sandbox", "insecure"):
        raise ProblemError(f"unsupported security mode {security!r}: sandbox or insecure")
    if args.flags.every("device"):
        raise ProblemError("RUN --device is not supported: builds have no devices")
    command, script, name = args.command(), None, ""
    if args.line.heredocs and command.shell:
        if parse_heredoc(args.rest):
            script, name = args.line.heredocs[0].content, args.line.heredocs[0].name
        else:
            command = ins.Command(("\n".join([args.rest, *_raw_heredocs(args.line)]),), True)
    return ins.Run(
        command=command,
        script=script,
        script_name=name,
        mounts=mounts,
        network=network,
        security=security,
        text=args.text,
        **args.place,
    )


def _raw_heredocs(line: Line) -> list[str]:
    """The here-documents that follow the instruction's own line."""
    return [heredoc.raw + heredoc.name for heredoc in line.heredocs]


def _copy(args: _Args) -> ins.Copy:
    keyword = args.line.keyword
    add = keyword == "ADD"
    array = args.array()
    words = list(array) if array is not None else args.blanks()
    if len(words) < 2:
        raise ProblemError(f"{keyword} requires at least two arguments: sources and the destination")
    if parse_heredoc(words[-1]):
        raise ProblemError(f"{keyword} cannot have a here-document as its destination")
    heredocs = {heredoc.name: heredoc for heredoc in args.line.heredocs}
    sources: list[str] = []
    files: list[ins.InlineFile] = []
    for word in words[:-1]:
        announced = parse_heredoc(word)
        if announced:
            content = heredocs[announced.name].content if announced.name in heredocs else ""
            files.append(ins.InlineFile(announced.name, content, announced.expand))
        else:
            sources.append(word)
    flags = args.flags
    return ins.Copy(
        sources=tuple(sources),
        target=words[-1],
        add=add,
        from_="" if add else flags.text("from"),
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.boolean("link"),
        parents=False if add else flags.boolean("parents"),
        exclude=tuple(flags.every("exclude")),
        files=tuple(files),
        checksum=flags.text("checksum") if add else "",
        keep_git_dir=flags.optional("keep-git-dir") if add else None,
        unpack=flags.optional("unpack") if add else None,
        text=args.text,
        **args.place,
    )


def _expose(args: _Args) -> ins.Expose:
    return ins.Expose(ports=tuple(sorted(args.blanks())), text=args.text, **args.place)


def _volume(args: _Args) -> ins.Volume:
    array = args.array()
    paths = array if array is not None else tuple(args.blanks())
    if not paths:
        raise ProblemError("VOLUME requires at least one argument")
    if any(not path.strip() for path in paths):
        raise ProblemError("VOLUME specified can not be an empty string")
    return ins.Volume(paths=tuple(path.strip() for path in paths), text=args.text, **args.place)


def _shell(args: _Args) -> ins.Shell:
    array = args.array()
    if not array:
        raise ProblemError("SHELL requires the arguments to be in JSON form")
    return ins.Shell(args=array, text=args.text, **args.place)


def _healthcheck(args: _Args) -> ins.Healthcheck:
    kind, *rest = args.rest.split(None, 1)
    if kind.upper() == "NONE":
        if rest:
            raise ProblemError("HEALTHCHECK NONE takes no arguments")
        return ins.Healthcheck(text=args.text, start=args.line.start, end=args.line.end)
    if kind.upper() != "CMD":
        raise ProblemError(f"unknown type {kind!r} in HEALTHCHECK: expected NONE or CMD")
    command = _Args(args.line, "".join(rest), args.flags, args.source).command()
    if not command.args:
        raise ProblemError("missing command after HEALTHCHECK CMD")
    retries = args.flags.text("retries")
    if retries and not re.fullmatch(r"\+?[0-9]+", retries):
        raise ProblemError(f"--retries must be a number of at least 0, not {retries!r}")

    def time(name: str) -> float | None:
        seconds = duration(text) if (text := args.flags.text(name)) else 0.0
        if seconds and seconds < 0.001:
            raise ProblemError(f"--{name} cannot be less than 1ms, but is {text}")
        return seconds or None

    found = ins.Healthcheck(
        command=command,
        interval=time("interval"),
        timeout=time("timeout"),
        start_period=time("start-period"),
        start_interval=time("start-interval"),
        retries=int(retries) if retries else None,
        text=args.text,
        start=args.line.start,
        end=args.line.end,
    )
    args.flags.finish("HEALTHCHECK")
    return found


def _onbuild(args: _Args) -> ins.Onbuild:
    word, *rest = re.split(r"\s+", args.rest, maxsplit=1)
    keyword = word.upper()
    if keyword in ("ONBUILD", "FROM", "MAINTAINER"):
        raise ProblemError(f"{keyword} isn't allowed as an ONBUILD trigger")
    line = args.line
    flags, after = take_flags("".join(rest), args.source.escape)
    # The trigger is checked where it is written, and parsed again in the build that it triggers in.
    parse_line(Line(keyword, word, flags, after.strip(), line.heredocs, line.start, line.end, args.rest), args.source)
    text = re.sub(r"\A\s*ONBUILD\s*", "", line.text, flags=re.IGNORECASE)
    return ins.Onbuild(instruction="\n".join([text, *_raw_heredocs(line)]), text=args.text, **args.place)


def _shell_form(kind: type[ins.Cmd | ins.Entrypoint], args: _Args) -> ins.AnyInstruction:
    return kind(command=args.command(), text=args.text, **args.place)


def _env(kind: type[ins.Env | ins.Label], args: _Args) -> ins.AnyInstruction:
    pairs, old_form = args.pairs()
    return kind(pairs=pairs, old_form=old_form, text=args.text, **args.place)


_MAYBE_EMPTY = frozenset({"RUN", "CMD", "ENTRYPOINT"})
_ANY_FLAGS = frozenset({"STOPSIGNAL", "HEALTHCHECK"})
_PARSERS: dict[str, Callable[[_Args], ins.AnyInstruction]] = {
    "FROM": _from,
    "ARG": _arg,
    "ENV": functools.partial(_env, ins.Env),
    "LABEL": functools.partial(_env, ins.Label),
    "RUN": _run,
    "COPY": _copy,
    "ADD": _copy,
    "WORKDIR": lambda args: ins.Workdir(path=args.rest, text=args.text, **args.place),
    "USER": lambda args: ins.User(user=args.rest, text=args.text, **args.place),
    "EXPOSE": _expose,
    "VOLUME": _volume,
    "ENTRYPOINT": functools.partial(_shell_form, ins.Entrypoint),
    "CMD": functools.partial(_shell_form, ins.Cmd),
    "SHELL": _shell,
    "STOPSIGNAL": lambda args: ins.Stopsignal(signal=args.rest, text=args.text, **args.place),
    "HEALTHCHECK": _healthcheck,
    "MAINTAINER": lambda args: ins.Maintainer(name=args.rest, text=args.text, **args.place),
    "ONBUILD": _onbuild,
}
