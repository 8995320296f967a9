"""Composer: compose projects without Docker."""
