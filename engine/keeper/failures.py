"""Unexpected errors, which do not stop the keeper: it logs them at intervals."""

from __future__ import annotations

import os
import sys
import time

QUIET = 1.0
"""Minimum seconds between two logged failures."""


class Failures:
    def __init__(self) -> None:
        self._last_report = -QUIET

    def survive(self) -> None:
        """Log the current exception, at a limited rate. Needs hardly any memory."""
        error = sys.exc_info()[1]
        now = time.monotonic()
        if error is not None and now - self._last_report >= QUIET:
            self._last_report = now
            try:
                place = error.__traceback__
                text = f"{type(error).__name__}: {error}"
                while place is not None:
                    code = place.tb_frame.f_code
                    text += f"\n  {code.co_filename}:{place.tb_lineno} {code.co_name}"
                    place = place.tb_next
                os.write(2, f"{text}\n".encode())
            except (OSError, MemoryError):
                pass
        time.sleep(0.005)
