"""Layers: tar streams of changes, and the folders that overlayfs stacks (OCI image specification, layer.md)."""
