"""Streams between a person's terminal and containers."""
