"""The Dockerfile's instructions as typed structures (Dockerfile reference). Texts are as written: variables not
expanded.
"""

from __future__ import annotations

import posixpath

from msgspec import Struct

Pair = tuple[str, str]


class Instruction(Struct, frozen=True, kw_only=True, tag=True):
    """`start` and `end` are line numbers, `text` what stands there, in one line."""

    start: int = 0
    end: int = 0
    text: str = ""


class Command(Struct, frozen=True):
    """A command line: exec form (`args`), or shell form (one argument for the shell)."""

    args: tuple[str, ...]
    shell: bool


class InlineFile(Struct, frozen=True):
    """A here-document of COPY or ADD: a file of its own. `expand` says that variables in it are replaced."""

    name: str
    content: str
    expand: bool


class RunMount(Struct, frozen=True, kw_only=True):
    """RUN --mount; `type` bind, cache, tmpfs, secret or ssh; size in bytes. `sharing`, `mode`, `uid`, `gid` and `env`
    are None if they are not given."""

    type: str = "bind"
    id: str = ""
    source: str = ""
    target: str = ""
    from_: str = ""
    read_only: bool = True
    required: bool = False
    sharing: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int = 0
    env: str | None = None

    @property
    def secret(self) -> str:
        """The id of the secret that a mount of this type shows."""
        return self.source or self.id or posixpath.basename(self.target)


class MountText(Struct, frozen=True):
    """RUN --mount as written: only `from_`, where no variable can be, is known before the step runs."""

    text: str
    from_: str


class From(Instruction, frozen=True, kw_only=True):
    image: str
    platform: str = ""
    name: str = ""


class Arg(Instruction, frozen=True, kw_only=True):
    pairs: tuple[tuple[str, str | None], ...]


class Env(Instruction, frozen=True, kw_only=True):
    """`old_form` is `ENV name value`."""

    pairs: tuple[Pair, ...]
    old_form: bool = False


class Label(Instruction, frozen=True, kw_only=True):
    """`old_form` is `LABEL name value`."""

    pairs: tuple[Pair, ...]
    old_form: bool = False


class Run(Instruction, frozen=True, kw_only=True):
    """`script` is the here-document that is the whole command, named `script_name`, run by its shebang or by the
    shell."""

    command: Command
    script: str | None = None
    script_name: str = ""
    mounts: tuple[MountText, ...] = ()
    network: str = "default"
    security: str = "sandbox"


class Copy(Instruction, frozen=True, kw_only=True):
    """COPY and ADD (`add`). `checksum`, `keep_git_dir` and `unpack` are ADD's."""

    sources: tuple[str, ...]
    target: str
    add: bool = False
    from_: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()
    files: tuple[InlineFile, ...] = ()
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


class Workdir(Instruction, frozen=True, kw_only=True):
    path: str


class User(Instruction, frozen=True, kw_only=True):
    user: str


class Expose(Instruction, frozen=True, kw_only=True):
    ports: tuple[str, ...]


class Volume(Instruction, frozen=True, kw_only=True):
    paths: tuple[str, ...]


class Entrypoint(Instruction, frozen=True, kw_only=True):
    command: Command


class Cmd(Instruction, frozen=True, kw_only=True):
    command: Command


class Shell(Instruction, frozen=True, kw_only=True):
    args: tuple[str, ...]


class Stopsignal(Instruction, frozen=True, kw_only=True):
    signal: str


class Healthcheck(Instruction, frozen=True, kw_only=True):
    """`command` None is HEALTHCHECK NONE; durations in seconds, None where not given."""

    command: Command | None = None
    interval: float | None = None
    timeout: float | None = None
    start_period: float | None = None
    start_interval: float | None = None
    retries: int | None = None


class Maintainer(Instruction, frozen=True, kw_only=True):
    name: str


class Onbuild(Instruction, frozen=True, kw_only=True):
    """`instruction` is kept as text: it is parsed again in the build it triggers in."""

    instruction: str


AnyInstruction = (
    From
    | Arg
    | Env
    | Label
    | Run
    | Copy
    | Workdir
    | User
    | Expose
    | Volume
    | Entrypoint
    | Cmd
    | Shell
    | Stopsignal
    | Healthcheck
    | Maintainer
    | Onbuild
)
