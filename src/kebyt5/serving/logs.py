"""Logs as one JSON object per line, without anything from the users' texts."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

logger = logging.getLogger("kebyt5.serving")


class JSONFormatter(logging.Formatter):
    """Formats a record as JSON: time, level, logger, event, and the fields given to `log`.

    Of an exception it keeps the type and the traceback, but not the message, which may quote what
    a user wrote.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Returns one line of JSON."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        content: dict[str, Any] = {
            "time": time,
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            frames = traceback.extract_tb(record.exc_info[2])
            content["exception"] = record.exc_info[0].__name__
            content["trace"] = [f"{each.filename}:{each.lineno} {each.name}" for each in frames]
        return json.dumps(content, ensure_ascii=False)


def log(
    event: str, level: int = logging.INFO, error: BaseException | None = None, **fields: Any
) -> None:
    """Writes one line to the log.

    Args:
        event: What happened, in one or two fixed words.
        level: Level of the `logging` module.
        error: The exception behind the event, if there is one.
        **fields: Further fields of the JSON object.
    """
    logger.log(level, event, extra={"fields": fields}, exc_info=error)


def configure() -> None:
    """Sends all logs of this process to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(True)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
