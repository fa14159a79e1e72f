"""Files and batches of one gateway, joined: database, thread, desk and runner.

How they are doing is shown to Prometheus, in three numbers without a label: whose batches they are,
and how far each has come, its owner asks at `/v1/batches`.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from prometheus_client.core import GaugeMetricFamily, Metric

from baseload.config.tenancy import Jobs as Settings
from baseload.core.card import DAY_S
from baseload.gateway.filing import Filing
from baseload.gateway.jobs import Runner
from baseload.gateway.reception import Reception
from baseload.store.database import Database
from baseload.store.jobs import Jobs

MB = 1 << 20


class BackOffice:
    """Between `start` and `stop`, callers may file batches, and they are run.

    A collector for `prometheus_client` registries, too.
    """

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

    def collect(self) -> Iterator[Metric]:
        """Give how much is run at once, and how much could be."""
        runner = self.runner
        for name, text, value in (
            ("batches_running", "Batches that this process runs now.", runner.batches),
            ("batch_lines_in_flight", "Requests of batches that are out.", runner.in_flight),
            (
                "batch_room",
                "Requests of batches that may be out at once, as felt for.",
                float(int(runner.room)),
            ),
        ):
            yield GaugeMetricFamily(f"baseload_{name}", text, value=value)
