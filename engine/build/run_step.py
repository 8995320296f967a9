"""RUN: from an instruction to its process, its cache key, and the layer that the process produces."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.build import emulation, history
from engine.build import instructions as ins
from engine.build.cache import key_of
from engine.build.execute import RunRequest
from engine.build.metadata import DEFAULT_SHELL, command_line, working_dir
from engine.build.progress import Step
from engine.build.run_mounts import Mounts
from engine.build.stages import PREDEFINED
from engine.build.stubs import Stubs
from engine.build.task import Task
from engine.errors import BuildFailed, StartFailed, Unsupported
from engine.image.layers import Draft
from engine.image.merged import merged
from engine.image.platform import host
from engine.image.tree import Tree
from engine.spec.container import Mount

if TYPE_CHECKING:
    from engine.build.stage import StageRun
    from engine.spec.image import BuildSpec

_SCRIPTS = "/dev/pipes"
_TAIL = 12


def prepare(run: StageRun, instruction: ins.Run) -> Task:
    """The step for a RUN. Raises BuildFailed, and Unsupported for a request that cannot be met."""
    spec, config = run.build.spec, run.state.config
    shown, args, script = _command(run, instruction)
    mounts = Mounts(run, instruction.mounts)
    privileged = _privileged(spec, instruction)
    network = _network(spec, instruction)
    values = run.state.values
    line = history.run(shown, run.state.declared, values)
    text = script.content if script else ""
    process = (args, text, values, config.user, config.working_dir)
    container = (mounts.identity(), network, privileged, spec.extra_hosts, spec.shm_size, spec.ulimits)
    key = key_of("RUN", run.state.top, *process, *container)

    def make(draft: Draft, step: Step) -> None:
        _check_runnable(run)
        with contextlib.ExitStack() as stack:
            prepared = mounts.make(stack)
            placed = [*prepared.mounts, script] if script else prepared.mounts
            lower = run.lower() or [run.build.sources.empty()]
            with merged(lower) as fd, Tree(fd, "the image") as root:
                stubs = Stubs(root, [mount.target for mount in placed], working_dir(config, ""))
            request = RunRequest(
                lower=tuple(lower),
                upper=draft.diff,
                work=draft.work,
                args=args,
                environment=_environment(run.build.build_args, values, prepared.variables),
                working_dir=working_dir(config, ""),
                user=config.user,
                mounts=tuple(placed),
                trees=prepared.trees,
                network_mode="" if network == "default" else network,
                extra_hosts=spec.extra_hosts,
                shm_size=spec.shm_size,
                ulimits=spec.ulimits,
                resources=spec.resources,
                cgroup_parent=spec.cgroup_parent,
                privileged=privileged,
            )
            _execute(run, instruction, request, step)
            stubs.settle(draft.fd)

    return Task(key, line, make)


def _privileged(spec: BuildSpec, instruction: ins.Run) -> bool:
    """Whether the step runs with all privileges. Raises Unsupported without the entitlement."""
    if instruction.security != "insecure":
        return False
    if not (spec.privileged or "security.insecure" in spec.entitlements):
        raise Unsupported(
            "RUN --security=insecure needs the entitlement security.insecure", hint="Add it to build.entitlements."
        )
    return True


def _network(spec: BuildSpec, instruction: ins.Run) -> str:
    """The network mode of the step. Raises Unsupported if it wants the host's network without the entitlement."""
    if instruction.network == "default":
        return spec.network
    if instruction.network == "host" and spec.network != "host" and "network.host" not in spec.entitlements:
        raise Unsupported("RUN --network=host needs the entitlement network.host", hint="Add it to build.entitlements.")
    return instruction.network


def _check_runnable(run: StageRun) -> None:
    if not emulation.runs(run.state.platform):
        raise Unsupported(
            f"cannot RUN a program for {run.state.platform} on {host()}",
            hint="Register QEMU's user emulation with binfmt_misc, flag F (package qemu-user-static).",
        )


def _execute(run: StageRun, instruction: ins.Run, request: RunRequest, step: Step) -> None:
    """Run the process to completion. Raises BuildFailed, with its place, when it does not start or fails."""
    args = request.args
    try:
        code = run.build.run(request, step.output, step.warn)
    except StartFailed as error:
        message = f'process "{" ".join(args)}" could not be started: {error.message}'
        located = run.source.error(instruction.start, message, end=instruction.end)
        raise BuildFailed(located.message, exit_code=error.exit_code, hint=error.hint) from error
    if code != 0:
        raise _failed(run, instruction, args, code, step, memory=request.resources.memory)


def _environment(arguments: Mapping[str, str], values: Mapping[str, str], extra: Mapping[str, str]) -> tuple[str, ...]:
    """The process's variables. A proxy argument is set in upper and lower case, with or without an ARG, and takes precedence
    over ENV."""
    proxies = {
        spelling: value
        for name, value in arguments.items()
        if name in PREDEFINED and value
        for spelling in (name.upper(), name.lower())
    }
    return tuple(f"{name}={value}" for name, value in {**values, **proxies, **extra}.items())


def _command(run: StageRun, instruction: ins.Run) -> tuple[tuple[str, ...], tuple[str, ...], Mount | None]:
    """The command line as history has it, the argument list, and the script's file when it has a shebang."""
    shell = run.state.config.shell or DEFAULT_SHELL
    script = instruction.script
    if script is None:
        args = command_line(run.state.config, instruction.command)
        return args, args, None
    if not script.startswith("#!"):
        return (*shell, script), (*shell, script), None
    path = f"{_SCRIPTS}/{instruction.script_name}"
    file = Mount(type="file", target=path, content=script, mode=0o755)
    # The interpreter is named rather than the file executed: it is on a file system where nothing can be executed.
    plain = re.fullmatch(r"[\w./-]+", instruction.script_name)
    interpreter = plain and re.match(r"#![ \t]*(\S+)(?:[ \t]+(\S.*?))?[ \t]*(?:\n|\Z)", script)
    args = tuple(part for part in (*interpreter.groups(), path) if part) if interpreter else (*shell, path)
    return (*shell, path), args, file


def _failed(
    run: StageRun, instruction: ins.Run, args: tuple[str, ...], code: int, step: Step, *, memory: int
) -> BuildFailed:
    step.done_output()
    output = "".join(f"\n  {line}" for line in step.tail[-_TAIL:])
    error = run.source.error(
        instruction.start,
        f'process "{" ".join(args)}" did not complete successfully: exit code: {code}',
        end=instruction.end,
    )
    hint = {126: "The command cannot be executed.", 127: "The command was not found in the image."}.get(code, "")
    if code == 137 and memory:
        hint = f"It was killed: the limit of its memory is {memory >> 20} MiB (--memory)."
    return BuildFailed(error.message + (f"\nlast output:{output}" if output else ""), exit_code=code, hint=hint)
