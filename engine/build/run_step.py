"""RUN: from an instruction to the process it asks for, its cache key, and the layer the process leaves."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from engine.build import instructions as ins
from engine.build.cache import key_of
from engine.build.execute import RunRequest
from engine.build.metadata import DEFAULT_SHELL, command_line
from engine.build.progress import Step
from engine.build.run_mounts import Mounts
from engine.build.stages import PREDEFINED
from engine.build.state import DEFAULT_PATH
from engine.build.stubs import Stubs
from engine.build.task import Task
from engine.errors import BuildFailed, StartFailed, Unsupported
from engine.image.config import environment
from engine.image.layers import Draft
from engine.image.merged import merged
from engine.image.tree import Tree
from engine.spec.container import Mount

if TYPE_CHECKING:
    from engine.build.stage import StageRun

_SCRIPT = "/dev/pipes/EOF"
_TAIL = 12


def prepare(run: StageRun, instruction: ins.Run) -> Task:
    """The step for a RUN. Raises BuildFailed, Unsupported for what it asks for and cannot have."""
    spec, config = run.build.spec, run.state.config
    args, script = _command(run, instruction)
    mounts = Mounts(run, instruction.mounts)
    privileged = instruction.security == "insecure"
    if privileged and not (spec.privileged or "security.insecure" in spec.entitlements):
        raise Unsupported(
            "RUN --security=insecure needs the entitlement security.insecure", hint="Add it to build.entitlements."
        )
    network = instruction.network if instruction.network not in ("", "default") else spec.network
    declared = {name: value for name, value in run.state.args.items() if name not in PREDEFINED}
    proxies = {name: value for name, value in run.build.build_args.items() if name in PREDEFINED}
    values = {**declared, **environment(config.environment)}
    key = key_of(
        "RUN",
        run.state.top,
        args,
        script.content if script else "",
        values,
        config.user,
        config.working_dir,
        mounts.identity(),
        network,
        privileged,
    )

    def make(draft: Draft, step: Step) -> None:
        lower = run.lower()
        if not lower:
            raise BuildFailed(f"cannot RUN in an empty image: {run.stage.title} is FROM scratch and has no files yet")
        with contextlib.ExitStack() as stack:
            prepared, extra = mounts.make(stack)
            if script:
                prepared.append(script)
            with merged(lower) as fd, Tree(fd, "the image") as root:
                stubs = Stubs(root, [mount.target for mount in prepared], config.working_dir)
            request = RunRequest(
                lower=tuple(lower),
                upper=draft.diff,
                work=draft.work,
                args=args,
                environment=tuple(
                    f"{name}={value}" for name, value in {"PATH": DEFAULT_PATH, **proxies, **values, **extra}.items()
                ),
                working_dir=config.working_dir or "/",
                user=config.user,
                mounts=tuple(prepared),
                network_mode="" if network == "default" else network,
                extra_hosts=spec.extra_hosts,
                shm_size=spec.shm_size,
                ulimits=spec.ulimits,
                privileged=privileged,
            )
            try:
                code = run.build.run(request, step.output)
            except StartFailed as error:
                message = f'process "{" ".join(args)}" could not be started: {error.message}'
                located = run.source.error(instruction.start, message, end=instruction.end)
                raise BuildFailed(located.message, exit_code=error.exit_code, hint=error.hint) from error
            if code != 0:
                raise _failed(run, instruction, args, code, step)
            stubs.remove(draft.fd)

    return Task(key, f"RUN {' '.join(args)}", make)


def _command(run: StageRun, instruction: ins.Run) -> tuple[tuple[str, ...], Mount | None]:
    """The argument list, and the script's file when it has a shebang."""
    config = run.state.config
    if instruction.script is None:
        return command_line(config, instruction.command), None
    shebang = re.match(r"#!\s*(\S+)(?:[ \t]+(\S.*?))?\s*\n", instruction.script)
    if not shebang:
        return (*(config.shell or DEFAULT_SHELL), instruction.script), None
    # The interpreter is named rather than the file executed: it may lie where nothing can be executed.
    args = tuple(part for part in (shebang[1], shebang[2], _SCRIPT) if part)
    return args, Mount(type="file", target=_SCRIPT, content=instruction.script, mode=0o755)


def _failed(run: StageRun, instruction: ins.Run, args: tuple[str, ...], code: int, step: Step) -> BuildFailed:
    step.done_output()
    said = "".join(f"\n  {line}" for line in step.tail[-_TAIL:])
    error = run.source.error(
        instruction.start,
        f'process "{" ".join(args)}" did not complete successfully: exit code: {code}',
        end=instruction.end,
    )
    hint = {126: "The command cannot be executed.", 127: "The command was not found in the image."}.get(code, "")
    return BuildFailed(error.message + (f"\nlast output:{said}" if said else ""), exit_code=code, hint=hint)
