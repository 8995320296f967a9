"""The version of this release; pyproject.toml reads it from here."""

VERSION = "0.1.0"
COMPOSE = "5.8.0"
"""The release of Docker Compose that this one equals."""
