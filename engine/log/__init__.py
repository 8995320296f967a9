"""A container's log: two formats, rotated files, and what ships them to a remote driver.

Standard library and engine.kernel only: the keeper writes with it, the shipper (`ship/`) reads with it.
"""
