"""A container's log: two formats, rotated files, and shipping to remote drivers.

It uses only the standard library and engine.kernel, because the keeper writes with it, and the shipper (`ship/`) reads.
"""
