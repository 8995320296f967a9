"""Waiting for changes without polling: of a group's containers, of a tree of files."""
