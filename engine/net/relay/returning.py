"""Brings answers back to the relay where it connects from its clients' addresses, as it does for an ordinary user: a container
answers to the client, whose address is not ours. Packet rules mark packets that have a transparent socket here (ruleset.py),
and a route delivers marked ones here."""

from __future__ import annotations

import errno

from engine.net import messages
from engine.net.rtnetlink import Rtnetlink

MARK = TABLE = 192
"""Of packets, and of routes. Only composer uses the network in which they are."""
_LOOPBACK = 1
"""The index of lo in every network namespace."""


def prepare() -> None:
    """Add the route. Raises OperationFailed."""
    with Rtnetlink() as kernel:
        for version in (4, 6):
            made = [messages.marked(version, MARK, TABLE), messages.all_local(version, TABLE, _LOOPBACK)]
            kernel.do("route answers in", "the user's network", made, accept=(errno.EEXIST, errno.EAFNOSUPPORT))
