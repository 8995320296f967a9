"""Relays published ports to containers where packet rules do not."""
