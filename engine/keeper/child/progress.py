"""The results of start steps that later steps need."""

from __future__ import annotations

from engine.keeper.child.identity import Identity
from engine.keeper.child.namespaces import Ids

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.keeper.bundle import Bundle


class Progress:
    """`pipes`: the standard streams that are our pipes; `channel`: the descriptor of the stream to the keeper, open
    until the program is executed."""

    def __init__(self, bundle: Bundle, pipes: Sequence[int], channel: int) -> None:
        self.bundle = bundle
        self.pipes = tuple(pipes)
        self.channel = channel
        self.ids = Ids()
        """The id maps of the user namespace, if it is not the host's."""
        self.joined: dict[str, int] = {}
        """Kind → descriptor of a namespace to join."""
        self.root = -1
        """The container's root directory, a mount."""
        self.trees: dict[int, int] = {}
        """Number of an entry of bundle["mounts"] → its detached mount."""
        self.user = Identity(0, 0, (), "/")
        """The user of the program; set before the last steps."""
