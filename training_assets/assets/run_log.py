"""What a run says on the console: the platform's own messages, and why a step failed.

Dagster's own events are in the UI; those that only say that something failed are left out here.
"""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

_FORMATS: Final = ["plain", "json"]


@dg.logger(
    {
        "log_level": dg.Field(str, is_required=False, default_value="INFO"),
        "format": dg.Field(
            dg.Enum("LogFormat", [dg.EnumValue(name) for name in _FORMATS]),
            is_required=False,
            default_value="plain",
        ),
    },
    description="What a run does, one line each; Dagster's own events are in the UI.",
)
def console_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """To the standard error, as lines for people or as JSON lines."""
    logger = logging.Logger("training_assets", level=context.logger_config["log_level"])
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: bool(_text(record)))
    is_json = context.logger_config["format"] == "json"
    handler.setFormatter(_JsonFormatter() if is_json else _PlainFormatter())
    logger.addHandler(handler)
    return logger


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{self.formatTime(record, '%H:%M:%S')} {_text(record)}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        level = "info" if record.levelno < logging.WARNING else record.levelname.lower()
        line = {"time": at, "level": level, "message": _text(record)}
        return json.dumps(line | {"run": _meta(record).get("run_id")}, ensure_ascii=False)


def _text(record: logging.LogRecord) -> str:
    """What is to be said of a record; nothing of Dagster's events but errors not told yet."""
    meta = _meta(record)
    if not meta.get("dagster_event"):
        return str(meta.get("orig_message", record.msg))
    data = getattr(meta["dagster_event"], "event_specific_data", None)
    # A step that fails on purpose has said why, day by day; a run says it of its steps again.
    if getattr(data, "user_failure_data", None) or getattr(data, "first_step_failure_event", None):
        return ""
    error = getattr(data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None or record.levelno < logging.ERROR:
        return ""
    return re.sub(r"^(\w+\.)+(?=\w+: )", "", error.message.strip())


def _meta(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, "dagster_meta", {})
