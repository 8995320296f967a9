"""HTTP/1.1 as the Docker API needs it (RFC 9112): streams both ways, Upgrade, half-close. No routes, no engine."""
