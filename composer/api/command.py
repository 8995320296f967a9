"""Command lines of `composer`, and parsers of their output: shared by both variants."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

import msgspec

from composer.api.values import ComposerError, Container, Event, LogLine, Port

PS = ["ps", "--all", "--no-trunc", "--format", "json"]
_JSON = msgspec.json.Decoder()


class ProjectBase:
    """The base of Project and AsyncProject: how a project's commands run. `folder`: the folder of its files; `files`,
    `profiles`, `env_files`: as -f, --profile and --env-file; `environ`: the processes' environment, the caller's for
    None. `name`: the project's, by default chosen as by the command line."""

    def __init__(
        self,
        folder: str = ".",
        *,
        files: Sequence[str] = (),
        name: str = "",
        profiles: Sequence[str] = (),
        env_files: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = os.path.abspath(folder)
        self._environ = dict(os.environ if environ is None else environ)
        self._head = [sys.executable, "-m", "composer", "--ansi", "never", "--progress", "quiet"]
        self._head += [word for file in files for word in ("--file", file)]
        self._head += [word for profile in profiles for word in ("--profile", profile)]
        self._head += [word for file in env_files for word in ("--env-file", file)]
        self._head += ["--project-name", name] if name else []

    def _line(self, *words: str) -> list[str]:
        """The command line. Raises ComposerError if the folder is missing, which would look like a missing program."""
        if not os.path.isdir(self._folder):
            raise ComposerError(f"{self._folder} is not a folder", 1)
        return [*self._head, *words]


def up(
    services: Sequence[str], *, build: bool, wait: bool, force_recreate: bool, scale: Mapping[str, int]
) -> list[str]:
    flags = [
        *(["--build"] if build else []),
        *(["--wait"] if wait else []),
        *(["--force-recreate"] if force_recreate else []),
        *(word for service, count in scale.items() for word in ("--scale", f"{service}={count}")),
    ]
    return ["up", "--detach", "--yes", *flags, "--", *services]


def down(*, volumes: bool, remove_orphans: bool, timeout: int | None) -> list[str]:
    flags = [*(["--volumes"] if volumes else []), *(["--remove-orphans"] if remove_orphans else [])]
    return ["down", *flags, *([] if timeout is None else ["--timeout", str(timeout)])]


def logs(services: Sequence[str], *, follow: bool, since: str, tail: int | None) -> list[str]:
    flags = [*(["--follow"] if follow else []), *(["--since", since] if since else [])]
    flags += [] if tail is None else ["--tail", str(tail)]
    return ["logs", "--timestamps", "--no-color", *flags, "--", *services]


def execution(
    service: str, program: Sequence[str], *, user: str, workdir: str, environment: Mapping[str, str], index: int
) -> list[str]:
    if not program:
        raise ValueError("exec: the program is missing")
    flags = [*(["--user", user] if user else []), *(["--workdir", workdir] if workdir else [])]
    flags += [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
    return ["exec", "--no-TTY", "--index", str(index), *flags, service, *program]


def events(services: Sequence[str], *, since: str, until: str) -> list[str]:
    flags = [*(["--since", since] if since else []), *(["--until", until] if until else [])]
    return ["events", "--json", *flags, "--", *services]


def failure(code: int, stderr: bytes) -> ComposerError:
    text = stderr.decode(errors="replace").strip()
    return ComposerError(text or f"composer ended with exit code {code}", code)


def containers(printed: bytes) -> list[Container]:
    """From PS."""
    return [_container(_JSON.decode(line)) for line in printed.splitlines() if line.strip()]


def _container(row: dict[str, object]) -> Container:
    publishers = row["Publishers"]
    assert isinstance(publishers, list)
    return Container(
        id=str(row["ID"]),
        name=str(row["Name"]),
        service=str(row["Service"]),
        image=str(row["Image"]),
        state=str(row["State"]),
        health=str(row["Health"]),
        exit_code=int(str(row["ExitCode"])),
        ports=tuple(
            Port(one["URL"], one["PublishedPort"], one["TargetPort"], one["Protocol"])
            for one in publishers
            if one["PublishedPort"]
        ),
    )


def log_line(printed: bytes) -> LogLine:
    """From a line of `logs --timestamps`: `name  | time text`."""
    name, _, rest = printed.rstrip(b"\n").partition(b"| ")
    time, _, text = rest.partition(b" ")
    return LogLine(name.decode().rstrip(), time.decode(), text.decode(errors="surrogateescape"))


def event(printed: bytes) -> Event:
    """From a line of `events --json`."""
    found = _JSON.decode(printed)
    return Event(
        time=found["time"],
        action=found["action"],
        id=found["id"],
        service=found.get("service", ""),
        attributes={key: str(value) for key, value in (found.get("attributes") or {}).items()},
    )
