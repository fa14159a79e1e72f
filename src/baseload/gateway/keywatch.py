"""Has somebody made, changed or revoked a key in the store?

A thread of its own looks every half second at one number in the database, and reads all keys only
when it has grown. So a key that any process makes (the command line, the admin API of another
replica) is accepted here within about a second, and a revoked one refused, without a word between
the processes.

A database that cannot be asked changes nothing: the keys known so far hold, and it is said in the
log once. What a key may do is not looked at here.
"""

import logging
import threading
from collections.abc import Callable

from baseload.errors import BaseloadError
from baseload.store.database import Database, DatabaseError
from baseload.store.keys import KeyStore, Pass, is_there

POLL_S = 0.5
"""Pause between two looks; with the reading, a change is known within a second."""
STOP_S_MAX = 2.0
"""Longest wait for the thread at the end; it holds nothing that could be lost."""

logger = logging.getLogger("baseload.gateway")

Hear = Callable[[tuple[Pass, ...]], None]


class KeyWatch:
    """Watches the keys in one database. A SQLite file that nobody made is not made here."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._database: Database | None = None
        self._seen = -1
        self._is_failing = False
        self._look_now = threading.Event()
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def look(self) -> tuple[Pass, ...] | None:
        """Give all keys if something changed since the last look; blocks. Raises DatabaseError."""
        if self._database is None:
            if not is_there(self._url):
                return None
            self._database = Database(self._url)
        store = KeyStore(self._database)
        try:
            version = store.version()
            if version == self._seen:
                return None
            passes = store.passes()
        except DatabaseError:
            self._close()
            raise
        self._seen = version  # A change after it was read is seen by the next look.
        return passes

    def start(self, hear: Hear) -> None:
        """Begin to look again and again; `hear` is called in the thread that looks."""
        self._thread = threading.Thread(target=self._run, args=(hear,), name="keys", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look at once: a key was changed by this very process. From any thread."""
        self._look_now.set()

    def stop(self) -> None:
        """End the thread."""
        self._is_stopping = True
        self._look_now.set()
        if self._thread is not None:
            self._thread.join(STOP_S_MAX)

    # -- within ------------------------------------------------------------------------------

    def _run(self, hear: Hear) -> None:
        while not self._is_stopping:
            try:
                passes = self.look()
            except BaseloadError as error:
                if not self._is_failing:
                    logger.warning("keys cannot be looked up, those known so far hold: %s", error)
                self._is_failing = True
            else:
                if self._is_failing:
                    logger.info("keys can be looked up again")
                self._is_failing = False
                if passes is not None:
                    hear(passes)
            self._look_now.wait(POLL_S)
            self._look_now.clear()
        self._close()

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
