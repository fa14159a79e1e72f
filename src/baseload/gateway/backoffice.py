"""Files and batches of one gateway, joined: database, thread, desk and runner."""

from concurrent.futures import ThreadPoolExecutor

from baseload.config.tenancy import Jobs as Settings
from baseload.gateway.filing import Filing
from baseload.gateway.jobs import Runner
from baseload.gateway.reception import Reception
from baseload.store.database import Database
from baseload.store.jobs import Jobs

DAY_S = 86_400.0
MB = 1 << 20


class BackOffice:
    """Between `start` and `stop`, callers may file batches, and they are run."""

    def __init__(self, settings: Settings, url: str, reception: Reception) -> None:
        """Make it inside the loop. Raises DatabaseError."""
        self._database = Database(url)
        self._thread = ThreadPoolExecutor(1, "batches")
        self._reception = reception
        jobs = Jobs(self._database)
        self.runner = Runner(
            jobs, reception, settings.concurrency, settings.keep_days * DAY_S, self._thread,
            settings.storage_mb * MB,
        )  # fmt: skip
        self._filing = Filing(jobs, self.runner, self._thread, settings.storage_mb * MB)

    def start(self) -> None:
        """Open the desk, and go on with what is not finished."""
        self._reception.side.filing = self._filing
        self.runner.start()

    def pause(self) -> None:
        """For the beginning of a drain: send no more requests out."""
        self.runner.pause()

    async def stop(self) -> None:
        """For its end: write down what came of them, and close the database."""
        await self.runner.stop()
        self._thread.shutdown()
        self._database.close()
