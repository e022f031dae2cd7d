"""Structured logs on standard error: one line an event, as text or as JSON.

Rule: an event is a short name and fields; no content of messages and no secret ever. What the
engine and libraries tell Python's own logging comes out the same way, so that whoever parses lines
meets one kind of them. A log that cannot be written, on a full disk for one, is lost and stops
nothing.
"""

from __future__ import annotations

import io
import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog

Logger = structlog.typing.FilteringBoundLogger


class _Unfailing(io.TextIOBase):
    """A stream whose writes may be lost and never raise."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # a full disk, a closed stream
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):  # a full disk, a closed stream
            self._stream.flush()


class _Forwarded(logging.Handler):
    """What others log, as events of ours."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        self._logger.log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info
        )


def configure(level: str, form: str) -> Logger:
    """Sets up logging for the process and returns its logger."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Unfailing(sys.stderr))),
    )
    logger: Logger = structlog.get_logger()
    logging.basicConfig(level=level.upper(), handlers=[_Forwarded(logger)], force=True)
    return logger
