"""A project as commands see it: what its files want, what exists, and how to change it."""
