"""How does a change get into the audit log, and what if that cannot be written?

A change is written down after it is made and before it is answered. If the store fails, the change
stands: operators must be able to drain a backend on the day on which the disk is full. It is then
logged in full, kept to be written with the next one, and the answer says so in a header. What waits
is bounded; of too much, the oldest go, and the log has them.

Not here: the table (`store/audit`), and what counts as a change (`routes`).
"""

import logging
from collections import deque
from contextlib import suppress

from baseload.errors import BaseloadError
from baseload.store.audit import Change
from baseload.web.backroom import Backroom
from baseload.web.plane import Audit

WAITING_MAX = 256
"""Changes kept for a store that fails."""
WARNING_HEADER = "x-baseload-warning"

logger = logging.getLogger("baseload.web")


class Journal:
    """What is to be written into the audit log."""

    def __init__(self, audit: Audit, backroom: Backroom) -> None:
        self._audit = audit
        self._backroom = backroom
        self._waiting: deque[Change] = deque(maxlen=WAITING_MAX)

    async def write(self, change: Change) -> str:
        """Write a change, and those that wait; give a warning, or nothing if all went well."""
        logger.info("%s", _told(change))
        self._waiting.append(change)
        unwritten = list(self._waiting)
        try:
            await self._backroom.run(self._write_all, unwritten)
        except BaseloadError as error:
            logger.error("audit log: %s; not written yet: %s", error, _told(change))  # noqa: TRY400
            return f"not in the audit log yet: {error}"
        for written in unwritten:
            with suppress(ValueError):  # Another change, made meanwhile, wrote it as well.
                self._waiting.remove(written)
        return ""

    def _write_all(self, changes: list[Change]) -> None:
        """Write in order, in a thread. What was written before an error is written once anyway."""
        for change in changes:
            self._audit.write(change)


def _told(change: Change) -> str:
    parts = [change.action, change.target, f"{change.was} -> {change.became}", change.result]
    what = ", ".join(part for part in parts if part.strip(" ->"))
    return f"operator ({change.who}, {change.address}) {what}, request {change.request_id}"
