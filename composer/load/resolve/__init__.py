"""Resolve short forms, paths, implied settings, and the canonical tree."""
