"""The tree of a compose file, rules for its places, and values as text."""
