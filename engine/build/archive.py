"""Recognising archives."""

from __future__ import annotations

import os

from engine.image.layer import compression


def holds_tar(fd: int) -> bool:
    """Whether the file, uncompressed, begins with a tar header."""
    with os.fdopen(os.dup(fd), "rb") as file:
        head = file.read(512)
        if not compression.detect(head):
            return compression.is_tar(head)
        file.seek(0)
        try:
            return compression.is_tar(next(compression.chunks(file, "archive"), b""))
        except Exception:  # damaged or of an unknown compression: then it is a file like any other
            return False
