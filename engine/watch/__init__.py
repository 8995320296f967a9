"""Waiting for change without polling: of a group's containers, of a tree of files."""
