"""Trees over trees: override files, extends, include."""
