"""Log lines on the terminal."""

from __future__ import annotations

import logging
import sys


class StderrHandler(logging.Handler):
    """Writes to whatever `sys.stderr` is at the moment.

    A progress bar takes its place while it is shown, and puts log lines above itself.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except OSError:  # the terminal is gone; the file of the run still has the line
            self.handleError(record)
