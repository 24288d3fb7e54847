"""The log on standard error: lines of text, or one JSON object a line.

    {"at": "2026-11-22T12:00:00.000Z", "level": "WARNING", "event": "replica 'main-0' is down: …", "process": 7}

`request_id` and `trace_id` stand where an event is about one request. Of an error JSON has the class and the places in
this program and never its text, which may hold what a client wrote.
"""

import json
import logging
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.client import Client

FORMAT = "TOLLGATE_LOG_FORMAT"
"""The variable that says how: `text` or `json`. Workers inherit it."""
FORMATS = ("text", "json")
ABOUT = ("request_id", "trace_id")
DEFECTS = ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError
"""What a number or a text of somebody else's provokes where nobody foresaw it: logged with its place, and survived."""


class JsonLines(logging.Formatter):
    """One object for each event, in ASCII, so that nothing in it can end its line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        found: dict[str, Any] = {
            "at": f"{at}Z",
            "level": record.levelname,
            "event": record.getMessage(),
            "logger": record.name,
            "process": record.process,
        }
        found |= {name: value for name in ABOUT if (value := getattr(record, name, None)) is not None}
        if record.exc_info is not None and record.exc_info[1] is not None:
            error = record.exc_info[1]
            frames = traceback.extract_tb(error.__traceback__)
            found["error"] = type(error).__name__
            found["where"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(found)


def formatter(environment: Mapping[str, str]) -> logging.Formatter:
    """How events are written; as text unless something else is asked for."""
    if environment.get(FORMAT) == "json":
        return JsonLines()
    return logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s")


def begin(environment: Mapping[str, str]) -> None:
    """Set up this process's log."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(environment))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("tollgate").setLevel(logging.INFO)


def named(client: Client) -> dict[str, str | None]:
    """What says which request an event is about."""
    trace = client.trace
    trace_id = client.context[len(b"traceparent: 00-") :][:32].decode() or None if trace is None else trace.trace_id
    return {"request_id": client.request_id, "trace_id": trace_id}
