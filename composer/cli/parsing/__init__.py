"""Parsing of the command line: commands, flags, help."""
