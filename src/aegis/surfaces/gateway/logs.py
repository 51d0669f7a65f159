"""Structured logs on standard error: one line for a request, never an argument value, never a credential."""

import logging
import sys
from datetime import UTC, datetime

import orjson

from aegis.settings import LogSettings

_FIELDS = ("request_id", "tenant", "agent_id", "tool", "outcome", "rules", "path", "status", "ms", "code", "trace_id")


class JsonLines(logging.Formatter):
    """One JSON object a line, with a closed set of fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; of an exception only its type and place, because its text may hold what we protect."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name in _FIELDS if (value := getattr(record, name, None)) not in (None, "", [])}
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            trace = record.exc_info[2]
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            if trace is not None:
                line["at"] = f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
        return orjson.dumps(line, default=str).decode()


class Text(JsonLines):
    """The same for a person's eyes."""

    def format(self, record: logging.LogRecord) -> str:
        """`time level message key=value ...`."""
        line = orjson.loads(super().format(record))
        head = f"{line.pop('time')[11:23]} {line.pop('level'):7} {line.pop('message')}"
        line.pop("logger")
        return head + "".join(f" {name}={value}" for name, value in line.items())


def configure(settings: LogSettings) -> None:
    """Send all logs of this process to standard error in the format of the settings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if settings.format == "json" else Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for noisy in ("asyncio", "alembic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
