"""Logical lines to typed instructions: a table of one small function for each keyword."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable

from engine.build import instructions as ins
from engine.build.flags import Flags, duration, run_mount
from engine.build.lex import Line, Source
from engine.build.words import split


class ProblemError(ValueError):
    """What is wrong with an instruction; the place is added by the caller."""


def parse(source: Source) -> list[ins.AnyInstruction]:
    """All instructions in order. Raises BuildFailed with file, line and the lines in question."""
    return [parse_line(line, source) for line in source.lines]


def parse_line(line: Line, source: Source) -> ins.AnyInstruction:
    """One instruction."""
    parser = _PARSERS.get(line.keyword)
    if parser is None:
        near = difflib.get_close_matches(line.keyword, _PARSERS, 1)
        hint = f"Did you mean {near[0]}?" if near else ""
        raise source.error(line.start, f"unknown instruction: {line.keyword}", hint=hint, end=line.end)
    try:
        flags, rest = Flags.take(line.rest) if line.keyword in _FLAGGED else (Flags({}), line.rest)
        if not rest and line.keyword not in ("ONBUILD",):
            raise ProblemError(f"{line.keyword} requires at least one argument")
        found = parser(_Args(line, rest, flags, source))
        flags.finish(line.keyword)
    except ValueError as error:
        raise source.error(line.start, str(error), end=line.end) from error
    return found


class _Args:
    """What a parser gets: the line, the text after the flags, the flags."""

    def __init__(self, line: Line, rest: str, flags: Flags, source: Source) -> None:
        self.line, self.rest, self.flags, self.source = line, rest, flags, source
        self.place = {"start": line.start, "end": line.end}
        self.text = f"{line.keyword} {' '.join(line.rest.split())}"

    def words(self) -> list[str]:
        return split(self.rest, self.source.escape)

    def one(self) -> str:
        words = self.words()
        if len(words) != 1:
            raise ProblemError(f"{self.line.keyword} requires exactly one argument")
        return words[0]

    def array(self) -> tuple[str, ...] | None:
        """The exec form: a JSON array of strings."""
        if not self.rest.startswith("["):
            return None
        try:
            found = json.loads(self.rest)
        except ValueError:
            return None
        return tuple(found) if isinstance(found, list) and all(isinstance(item, str) for item in found) else None

    def command(self) -> ins.Command:
        array = self.array()
        return ins.Command((self.rest,), True) if array is None else ins.Command(array, False)

    def pairs(self) -> tuple[ins.Pair, ...]:
        """`name=value …`, or the old form `name value`."""
        words = self.words()
        if "=" not in words[0]:
            name, _, value = self.rest.partition(" ")
            if not value.strip():
                raise ProblemError(f"{self.line.keyword} must have two arguments: a name and a value")
            return ((name, value.strip()),)
        found: list[ins.Pair] = []
        for word in words:
            name, equals, value = word.partition("=")
            if not equals:
                raise ProblemError(f"can't find = in {word!r}: expected name=value")
            if not name:
                raise ProblemError(f"{self.line.keyword} names cannot be blank")
            found.append((name, value))
        return tuple(found)


def _from(args: _Args) -> ins.From:
    words = args.words()
    if len(words) == 3 and words[1].upper() == "AS":
        name = words[2].lower()
        if not re.fullmatch(r"[a-z][a-z0-9-_.]*", name):
            raise ProblemError(
                f"invalid name for a build stage: {words[2]!r}; it must start with a letter and hold only a-z0-9-_."
            )
        if name in ("scratch", "context"):
            raise ProblemError(f"{name} is a reserved stage name")
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
    mounts = tuple(run_mount(text) for text in args.flags.every("mount"))
    network, security = args.flags.text("network"), args.flags.text("security")
    if network not in ("", "default", "none", "host"):
        raise ProblemError(f"unsupported network mode {network!r}: default, none or host")
    if security not in ("", "sandbox", "insecure"):
        raise ProblemError(f"unsupported security mode {security!r}: sandbox or insecure")
    command, script = args.command(), None
    heredocs = args.line.heredocs
    if heredocs and command.shell:
        if len(heredocs) == 1 and re.fullmatch(r"<<-?(['\"]?)\w[\w.]*\1", args.rest):
            script = heredocs[0].content
        else:
            command = ins.Command((args.rest + "\n" + "".join(heredoc.raw for heredoc in heredocs),), True)
    return ins.Run(
        command=command, script=script, mounts=mounts, network=network, security=security, text=args.text, **args.place
    )


def _copy(args: _Args) -> ins.Copy:
    add = args.line.keyword == "ADD"
    array = args.array()
    words = list(array) if array is not None else args.words()
    heredocs = {f"<<{'-' if h.strip else ''}{h.name}": h for h in args.line.heredocs}
    sources: list[str] = []
    files: list[ins.InlineFile] = []
    for word in words[:-1]:
        heredoc = heredocs.get(re.sub(r"['\"]", "", word))
        if heredoc:
            files.append(ins.InlineFile(heredoc.name, heredoc.content, heredoc.expand))
        else:
            sources.append(word)
    if len(words) < 2:
        raise ProblemError(f"{args.line.keyword} requires at least two arguments: sources and the destination")
    flags = args.flags
    checksum = flags.text("checksum") if add else ""
    if checksum and not re.fullmatch(r"sha256:[0-9a-f]{64}", checksum):
        raise ProblemError(f"invalid checksum {checksum!r}: expected sha256: and 64 hex digits")
    return ins.Copy(
        sources=tuple(sources),
        target=words[-1],
        add=add,
        from_="" if add else flags.text("from"),
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.boolean("link"),
        parents=flags.boolean("parents"),
        exclude=tuple(flags.every("exclude")),
        files=tuple(files),
        checksum=checksum,
        keep_git_dir=flags.boolean("keep-git-dir") if add else False,
        unpack=flags.optional("unpack") if add else None,
        text=args.text,
        **args.place,
    )


def _expose(args: _Args) -> ins.Expose:
    return ins.Expose(ports=tuple(args.words()), text=args.text, **args.place)


def _volume(args: _Args) -> ins.Volume:
    array = args.array()
    paths = array if array is not None else tuple(args.words())
    if any(not path.strip() for path in paths):
        raise ProblemError("VOLUME specified can not be an empty string")
    return ins.Volume(paths=paths, text=args.text, **args.place)


def _shell(args: _Args) -> ins.Shell:
    array = args.array()
    if not array:
        raise ProblemError("SHELL requires the arguments to be in JSON form")
    return ins.Shell(args=array, text=args.text, **args.place)


def _healthcheck(args: _Args) -> ins.Healthcheck:
    kind, _, rest = args.rest.partition(" ")
    if kind.upper() == "NONE":
        if rest.strip():
            raise ProblemError("HEALTHCHECK NONE takes no arguments")
        return ins.Healthcheck(text=args.text, start=args.line.start, end=args.line.end)
    if kind.upper() != "CMD":
        raise ProblemError(f"unknown type {kind!r} in HEALTHCHECK: expected NONE or CMD")
    command = _Args(args.line, rest.strip(), args.flags, args.source).command()
    if not command.args or command.args == ("",):
        raise ProblemError("missing command after HEALTHCHECK CMD")
    retries = args.flags.text("retries")
    if retries and not re.fullmatch(r"[0-9]+", retries):
        raise ProblemError(f"--retries must be a number, not {retries!r}")

    def time(name: str) -> float | None:
        text = args.flags.text(name)
        return duration(text) if text else None

    return ins.Healthcheck(
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


def _onbuild(args: _Args) -> ins.Onbuild:
    keyword = args.rest.split(" ", 1)[0].upper()
    if not keyword:
        raise ProblemError("ONBUILD requires at least one argument")
    if keyword in ("ONBUILD", "FROM", "MAINTAINER"):
        raise ProblemError(f"{keyword} isn't allowed as an ONBUILD trigger")
    if keyword not in _PARSERS:
        raise ProblemError(f"unknown instruction: {keyword}")
    text = args.rest + "".join("\n" + heredoc.raw.removesuffix("\n") for heredoc in args.line.heredocs)
    return ins.Onbuild(instruction=text, text=args.text, **args.place)


_FLAGGED = frozenset({"FROM", "RUN", "COPY", "ADD", "HEALTHCHECK"})
_PARSERS: dict[str, Callable[[_Args], ins.AnyInstruction]] = {
    "FROM": _from,
    "ARG": _arg,
    "ENV": lambda args: ins.Env(pairs=args.pairs(), text=args.text, **args.place),
    "LABEL": lambda args: ins.Label(pairs=args.pairs(), text=args.text, **args.place),
    "RUN": _run,
    "COPY": _copy,
    "ADD": _copy,
    "WORKDIR": lambda args: ins.Workdir(path=args.rest, text=args.text, **args.place),
    "USER": lambda args: ins.User(user=args.one(), text=args.text, **args.place),
    "EXPOSE": _expose,
    "VOLUME": _volume,
    "ENTRYPOINT": lambda args: ins.Entrypoint(command=args.command(), text=args.text, **args.place),
    "CMD": lambda args: ins.Cmd(command=args.command(), text=args.text, **args.place),
    "SHELL": _shell,
    "STOPSIGNAL": lambda args: ins.Stopsignal(signal=args.one(), text=args.text, **args.place),
    "HEALTHCHECK": _healthcheck,
    "MAINTAINER": lambda args: ins.Maintainer(name=args.rest, text=args.text, **args.place),
    "ONBUILD": _onbuild,
}
