"""secrets.* (compose-spec, 09-secrets.md)"""

from __future__ import annotations

from composer.model.config import Config


class Secret(Config):
    """Like a config; Docker Compose sets `content` for secrets as well after reading their variable."""
