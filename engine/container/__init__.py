"""Containers: bundles, capabilities, seccomp, devices, state files, logs."""

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)
