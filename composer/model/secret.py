"""secrets.* (compose-spec, 09-secrets.md)"""

from __future__ import annotations

from composer.model.config import Config


class Secret(Config):
    """As a config; Docker Compose gives `content` to secrets, too, once a variable has been read."""
