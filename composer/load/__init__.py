"""Compose files → the canonical tree → the typed project. `project.py` is the pipeline; every other file is one
stage."""
