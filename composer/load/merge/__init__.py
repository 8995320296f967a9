"""Merging of trees: override files, extends, include."""
