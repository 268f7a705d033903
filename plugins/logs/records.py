"""The service's own words: whatever it or a library says through `logging`, in the same form and to the same place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import format_exception

from plugins.logs.lines import Lines
from plugins.logs.redaction import Redaction


class RecordHandler(logging.Handler):
    """Hands each record to `put` as a finished line."""

    def __init__(self, lines: Lines, redaction: Redaction, put: Callable[[bytes], None]) -> None:
        super().__init__()
        self._lines = lines
        self._redaction = redaction
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._lines.entry(
                at_s=record.created,
                level=record.levelname.lower(),
                logger=record.name,
                message=self._redaction.text(record.getMessage()),
                traceback=self._redaction.text(_traceback(record)),
            )
        except Exception:
            self.handleError(record)  # arguments that do not fit the message: logging's own way to say so
        else:
            self._put(line)


@contextmanager
def attached(handler: RecordHandler, level: int) -> Iterator[None]:
    """The root logger with `handler` and `level`, put back as they were afterwards."""
    root = logging.getLogger()
    level_before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield
    finally:
        root.setLevel(level_before)
        root.removeHandler(handler)


def _traceback(record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info and record.exc_info[1] is not None:
        parts.append("".join(format_exception(record.exc_info[1])).rstrip("\n"))
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)
