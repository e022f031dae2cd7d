"""Structured logs on standard error: one line an event, as text or as JSON.

Rule: an event is a short name and fields. It never has the content of a message or a secret. What
the engine and libraries log through Python's own logging comes out as lines of the same kind. A
line that cannot be written is lost and stops nothing, as `outlet` says.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO, cast

import structlog

from .outlet import Outlet

Logger = structlog.typing.FilteringBoundLogger


class _Forwarded(logging.Handler):
    """What others log, as events of ours."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        self._logger.log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info
        )


def _tell_dropped(lines: int) -> None:
    logger: Logger = structlog.get_logger()
    logger.warning("lines of the log were dropped: nobody read them", lines=lines)


def configure(level: str, form: str) -> tuple[Logger, Outlet]:
    """Sets up logging for the process; its logger, and where that writes to."""
    outlet = Outlet(sys.stderr, _tell_dropped)
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
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", outlet)),
    )
    logger: Logger = structlog.get_logger()
    logging.basicConfig(level=level.upper(), handlers=[_Forwarded(logger)], force=True)
    return logger, outlet
