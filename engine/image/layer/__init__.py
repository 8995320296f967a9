"""Layers: tar streams of changes, and the directories that overlayfs stacks (OCI image specification, layer.md)."""
