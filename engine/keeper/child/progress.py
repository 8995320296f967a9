"""The results of start steps that later steps need."""

from __future__ import annotations

from engine.keeper.child.identity import Identity
from engine.keeper.child.namespaces import Ids

TYPE_CHECKING = False  # of typing, which a keeper need not load
if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.keeper.bundle import Bundle


class Progress:
    """`pipes`: which standard streams are pipes of ours; `channel`: the descriptor that leads to the keeper, which is open until
    the program is executed."""

    def __init__(self, bundle: Bundle, pipes: Sequence[int], channel: int) -> None:
        self.bundle = bundle
        self.pipes = tuple(pipes)
        self.channel = channel
        self.ids = Ids()
        """Of the user namespace, if it is not the host's."""
        self.joined: dict[str, int] = {}
        """Kind → descriptor of a namespace that is joined."""
        self.root = -1
        """The container's root directory, a mount."""
        self.trees: dict[int, int] = {}
        """Number of an entry of bundle["mounts"] → its mount, which is nowhere yet."""
        self.who = Identity(0, 0, (), "/")
        """Whom the program runs as; set before the last steps."""
