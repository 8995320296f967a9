"""A container's start by a script, for engine/keeper/container.py."""

from __future__ import annotations

import errno
import os

from engine.errors import EngineError, OperationFailed
from engine.keeper import pipes
from engine.keeper.child import identity, process, steps
from engine.keeper.child.progress import Progress
from engine.keeper.protocol import Channel
from engine.keeper.script import shapes
from engine.keeper.script.recorded import Recorded
from engine.keeper.script.recording import Unscripted
from engine.keeper.script.run_program import PROGRAMS
from engine.keeper.script.script import CHANNEL, Script
from engine.kernel import flags
from engine.kernel.sealed_memory import sealed
from engine.kernel.spawn import Spawner

_NAME = "composer-start"

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Bundle
    from engine.keeper.messages import Failure

_spawner: Spawner | None = None
_refused = False
"""Whether this machine does not permit scripts."""
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC)
"""Errors that may be temporary."""


class Start:
    """Creates the process, which pauses once it has reported ready. Raises Unscripted if only a fork of the keeper can
    start this container. After any exception there is no process."""

    def __init__(self, bundle: Bundle, theirs: Channel, child_fds: dict[str, int]) -> None:
        self._bundle, self._streams = bundle, pipes.numbers(child_fds)
        self._recording, data = shapes.recorded(bundle, self._streams)
        spawner = _spawning()
        self._script = Script()
        try:
            self._script.publish(self._recording, data)
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            try:
                streams = [child_fds.get(name, null) for name in pipes.NAMES]
                self.pid, self.pidfd = spawner.spawn(flags.CLONE["pid"], [*streams, self._script.fd, theirs.fileno()])
            finally:
                os.close(null)
        except BaseException:
            self._script.close()
            raise

    @property
    def broken(self) -> bool:
        """Whether the process met something that only a fork can handle. It has left nothing outside the container's
        folder."""
        return self._script.broken

    def proceed(self) -> Failure | None:
        """Record the rest once the process is ready. Returns the failure if that is not possible. Raises Unscripted."""
        settings = self._bundle["process"]
        progress = Progress(self._bundle, self._streams, CHANNEL)
        try:
            root = identity.root_of(self.pid)
            progress.user = identity.resolve(settings["user"], settings["groups"], root, quick=True)
            recording = self._recording.copy()
            steps.carry_out(steps.FINISH, Recorded(recording), progress)
            self._script.publish(recording)
            self._script.go_on()
        except EngineError as error:
            return _failure(error)
        except Exception as error:
            # Slow name lookups, or no memory: a fork will report the error in detail.
            raise Unscripted(str(error)) from error
        return None

    def failure(self) -> Failure | None:
        """Why the process exited before it executed the program; None if it executed it."""
        error = self._script.failure()
        return None if error is None else _failure(error)

    @property
    def executed(self) -> bool:
        """Whether the process executed the program; False if it was killed before."""
        return self._script.passed

    def close(self) -> None:
        self._script.close()


def _failure(error: Exception) -> Failure:
    """The keeper's error message."""
    code = error.exit_code if isinstance(error, process.CannotExecute) else 125
    return {"error": str(error) or repr(error), "exit_code": code}


def _spawning() -> Spawner:
    global _spawner, _refused
    if _refused:
        raise Unscripted("not on this machine")
    if _spawner is None:
        try:
            _spawner = Spawner(sealed(_NAME, PROGRAMS), _NAME)
        except OperationFailed as error:
            _refused = error.errno not in _PASSING
            raise Unscripted(str(error)) from error
    return _spawner
