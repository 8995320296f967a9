"""Look up a user in a running container before a process starts there."""

from __future__ import annotations

import os

from engine.container.filesystem import whole
from engine.container.in_userns import with_its_ids
from engine.errors import InvalidSpec, OperationFailed, WrongState
from engine.image.images import ImageStore
from engine.keeper.child import identity
from engine.spec.state import ContainerRecord


@with_its_ids
def check_user(images: ImageStore, record: ContainerRecord, user: str) -> None:
    """See composer.run.port.Streams.check_user."""
    if not record.state.status.alive:
        raise WrongState(f"container {record.spec.name} is not running")
    with whole(images, record) as root:
        try:
            identity.resolve(user, [], os.dup(root), quick=True)
        except identity.Slow:
            return  # the start looks it up, in a process that may block
        except OperationFailed as error:
            if error.operation == "find":
                raise InvalidSpec(error.message) from error
            raise
