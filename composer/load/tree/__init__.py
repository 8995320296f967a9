"""The tree of a compose file, tables of rules for its paths, and values as text."""
