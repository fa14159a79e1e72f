# ruff: noqa: INP001 - a file of its own, which Azure runs
"""Takes jobs that can wait from Service Bus to an engine, and puts the answers into a container.

A job is JSON: `path` (`/v1/chat/completions`), `body`, and an `id` by which to find its answer, or
its message's. The answer is `results/ID.json`: `status` and `body`. A job may be handed out twice;
the second answer then replaces the first. What an answer is, and which jobs come back, is in
`worker.py`.

A job that is to come back is not acknowledged: its host gives it back, and Service Bus hands it out
again at once. So the worker sleeps first, each time longer, while the host keeps the job's lock;
else all tries would be over within seconds of the engine's absence. Needs nothing but
`azure-functions` and the standard library.
"""

import json
import os
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import worker  # type: ignore[import-not-found]
from azure import functions  # type: ignore[import-not-found]

app = functions.FunctionApp()
LEFT_S = 1740.0
"""Its host stops a job after half an hour."""


@app.service_bus_queue_trigger(  # type: ignore[untyped-decorator]
    arg_name="message", queue_name="jobs", connection="JOBS"
)
def job(message: functions.ServiceBusMessage) -> None:
    """Work on a job. Raises if it is to come back."""
    work(message.message_id, message.get_body().decode(), message.delivery_count or 1, Azure())


def work(message_id: str, text: str, tries: int, azure: Any) -> None:
    """Do a job with these services; it was handed out so many times, this one included."""
    begun_s = monotonic()
    try:
        name, answer = worker.answered({"messageId": message_id, "body": text}, azure, LEFT_S)
        azure.put(f"results/{name}.json", json.dumps(answer))
    except Exception as error:
        left_s = LEFT_S - (monotonic() - begun_s)
        azure.sleep(max(0.0, min(left_s, worker.back_s(error, tries))))
        raise


class Azure:
    """The services that the worker needs, by HTTP and the worker's own identity."""

    def sleep(self, seconds: float) -> None:
        """Keep a job for this time; it may block, since its host calls for one job at a time."""
        sleep(seconds)

    def key(self) -> str:
        """Give the engine's key."""
        url = os.environ["KEY_URL"] + "?api-version=7.4"
        found: str = json.loads(self._call("https://vault.azure.net", url))["value"]
        return found

    def put(self, name: str, text: str) -> None:
        """Keep an answer."""
        headers = {"x-ms-blob-type": "BlockBlob", "content-type": "application/json"}
        url = f"{os.environ['ANSWERS_URL']}/{name}"
        self._call("https://storage.azure.com", url, text.encode(), headers)

    def _call(
        self,
        audience: str,
        url: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        given = {"authorization": f"Bearer {self._token(audience)}", "x-ms-version": "2023-11-03"}
        method = "GET" if body is None else "PUT"
        request = Request(  # noqa: S310
            url, data=body, headers=given | (headers or {}), method=method
        )
        with urlopen(request, timeout=30) as answer:  # noqa: S310
            found: bytes = answer.read()
        return found

    def _token(self, audience: str) -> str:
        asked = {
            "resource": audience, "api-version": "2019-08-01", "client_id": os.environ["CLIENT_ID"],
        }  # fmt: skip
        request = Request(  # noqa: S310
            f"{os.environ['IDENTITY_ENDPOINT']}?{urlencode(asked)}",
            headers={"x-identity-header": os.environ["IDENTITY_HEADER"]},
        )
        with urlopen(request, timeout=30) as answer:  # noqa: S310
            found: str = json.load(answer)["access_token"]
        return found
