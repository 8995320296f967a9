"""Checks: errors in a project, and settings that have no effect."""
