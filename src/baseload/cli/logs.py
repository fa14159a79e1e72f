"""Where log lines go: to standard error, for people or as JSON, from a thread of their own.

A terminal or a pipe that nobody reads must not stop the event loop, so lines are handed to a thread
over a line of bounded length; what does not fit is counted, and said once there is room again.

Keys that the fleet file names are taken out of every line on its way, whatever may have put them
there. That is the second lock on the door; the first is that nobody logs them.
"""

import logging
import logging.handlers
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from baseload.config.fleet import Fleet
from baseload.store.urls import passwords_of

WAITING_MAX = 10_000
"""Lines that may wait to be written."""
SECRET_CHARACTERS_MIN = 8
"""Shorter ones would be found everywhere."""
_LEVELS = logging.getLevelNamesMapping()
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; the rest are fields that somebody added."""


class JsonLines(logging.Formatter):
    """One JSON object a line: time (RFC 3339), level, logger, message, added fields, error."""

    def format(self, record: logging.LogRecord) -> str:
        """Give a record as a line."""
        at = datetime.fromtimestamp(record.created, UTC)
        found: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        found |= {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            found["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(found, enc_hook=str).decode()


class Redactor:
    """Takes secrets out of finished lines."""

    def __init__(self, secrets: list[str]) -> None:
        self._secrets = [one for one in secrets if len(one) >= SECRET_CHARACTERS_MIN]

    def clean(self, line: str) -> str:
        """Give a line without secrets."""
        for secret in self._secrets:
            if secret in line:
                line = line.replace(secret, "***")
        return line


class _Writer(logging.StreamHandler[Any]):
    """Writes lines that hold no secret."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        return self._redactor.clean(super().format(record))


class _Hopper(logging.handlers.QueueHandler):
    """Hands lines over without waiting; says how many there was no room for."""

    lost = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        waiting = self.queue
        try:
            if self.lost:
                waiting.put_nowait(_lost_line(self.lost))
                self.lost = 0
            waiting.put_nowait(record)
        except queue.Full:
            self.lost += 1

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Leave the record as it is: its writer is in this process."""
        return record


def _lost_line(count: int) -> logging.LogRecord:
    text = "%d log lines were dropped: nobody read them quickly enough"
    return logging.LogRecord("baseload", logging.WARNING, "", 0, text, (count,), None)


@contextmanager
def logs(fleet: Fleet) -> Iterator[None]:
    """Write log lines as the fleet file says, as long as this lasts."""
    settings = fleet.log
    secrets = [backend.api_key or "" for backend in fleet.backends.values()]
    secrets += [fleet.admin_token or "", *fleet.otel.headers.values()]
    for url in (fleet.store.ledger, fleet.store.counters):
        secrets += passwords_of(url)
    writer = _Writer(Redactor(secrets))
    is_json = settings.format == "json"
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    writer.setFormatter(JsonLines() if is_json else plain)
    hopper = _Hopper(queue.Queue(WAITING_MAX))
    listener = logging.handlers.QueueListener(hopper.queue, writer)
    root = logging.getLogger()
    before = root.level
    root.setLevel(_LEVELS[settings.level.upper()])
    root.addHandler(hopper)
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(hopper)
        root.setLevel(before)
        listener.stop()
