"""Tables of rules keyed by path patterns, compiled to a trie so that a walk visits only places with a rule.

A pattern is a tuple of keys; `ANY` matches every key and every index:

    RULES = compiled({("services", ANY, "ports"): ports, ...})
"""

from __future__ import annotations

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from composer.load.tree.nodes import Path

ANY = "*"


CONTAINERS = (("services", ANY), ("jobs", ANY), ("services", ANY, "pre_start", ANY))
"""The places that describe a container. The rules of its keys are the same in all of them."""


def of_containers(table: Mapping[tuple[str, ...], Any]) -> dict[tuple[str, ...], Any]:
    """A table of a container's keys, extended to the whole tree."""
    return {(*place, *path): rule for place in CONTAINERS for path, rule in table.items()}


class Node:
    """A node of the trie: its own rule, and the nodes below it."""

    __slots__ = ("any", "keys", "leaf", "rule")

    def __init__(self) -> None:
        self.rule: Any = None
        self.keys: dict[str, Node] = {}
        self.any: Node | None = None
        self.leaf = True

    def below(self, key: str | int) -> Node | None:
        """The node for a key, or None if no rule applies at or below it."""
        return self.keys.get(key, self.any) if isinstance(key, str) else self.any


def compiled(table: Mapping[tuple[str, ...], Any]) -> Node:
    """The table as a trie."""
    root = Node()
    for pattern, rule in table.items():
        node = root
        for key in pattern:
            node.leaf = False
            if key == ANY:
                node.any = node.any or Node()
                node = node.any
            else:
                node = node.keys.setdefault(key, Node())
        node.rule = rule
    return root


def applied(value: Any, node: Node, rule: Callable[[Any, Any, Path], Any], path: Path = ()) -> Any:
    """`value` with each entry that has a rule replaced by `rule(its rule, entry, path)`, outer entries first."""
    if node.rule is not None:
        value = rule(node.rule, value, path)
    if isinstance(value, dict):
        keys = node.keys
        if node.any is not None:
            for key in value:
                below = keys.get(key, node.any)
                value[key] = applied(value[key], below, rule, (*path, key))
        elif len(keys) < len(value):
            for key, below in keys.items():
                if key in value:
                    if below.leaf:
                        value[key] = rule(below.rule, value[key], (*path, key))
                    else:
                        value[key] = applied(value[key], below, rule, (*path, key))
        else:
            for key in value:
                if key in keys:
                    value[key] = applied(value[key], keys[key], rule, (*path, key))
    elif isinstance(value, list) and node.any is not None:
        below = node.any
        if below.leaf:
            value[:] = [rule(below.rule, item, (*path, index)) for index, item in enumerate(value)]
        else:
            for index, item in enumerate(value):
                value[index] = applied(item, below, rule, (*path, index))
    return value
