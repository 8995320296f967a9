"""Untrusted directory trees: walked, removed and copied by descriptors, at any depth."""
