"""Compose files → the canonical tree, and from it the typed project. `project.py` is the pipeline; a file is a stage."""
