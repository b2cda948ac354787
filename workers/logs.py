"""Logs of server and workers: readable in a terminal, one JSON object a line anywhere else."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import Processor


def configure_logs(level: str) -> None:
    """Send structured logs to stderr, with the job and step that were bound to the thread."""
    structlog.configure(
        processors=[*_known(), _last()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def configure_server_logs(level: str, stream: TextIO | None = None) -> None:
    """Send what the web server logs by the standard library to stderr, in the same form."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_known(), structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _last()],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("api", "rewardsmith"):
        logging.getLogger(name).setLevel(level.upper())


def _known() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]


def _last() -> Processor:
    terminal = sys.stderr.isatty()
    return structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
