# ruff: noqa: INP001 - a file of its own, which Lambda runs
"""Takes jobs that can wait from SQS to an engine, and puts the answers into S3.

A job is JSON: `path` (`/v1/chat/completions`), `body`, and an `id` by which to find its answer, or
its message's. The answer is `results/ID.json`: `status` and `body`. SQS may hand a job out twice;
the second answer then replaces the first.

What the engine refuses for good (4xx) is an answer, and so is what is no job. Anything else comes
back, each time later: the engine has no room, or it is away.
"""

import json
import logging
import os
import re
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

ROOM_S = 20
"""Of the time that Lambda leaves: for writing the answer."""
WAIT_S = (30, 900)
"""Until a job comes back the first time, and at most; it doubles in between."""
LATER = (401, 403, 408, 409, 425, 429, 500, 502, 503, 504)
"""Answers that may be others later; the first two while a key is being replaced."""
ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


class NotNowError(Exception):
    """The job is to come back; after `wait_s` at least, if the engine said so."""

    def __init__(self, why: str, wait_s: int = 0) -> None:
        """`why` is for the log."""
        super().__init__(why)
        self.wait_s = wait_s


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Work on each job; name those that are to come back."""
    import boto3  # type: ignore[import-not-found,unused-ignore] # noqa: PLC0415 - Lambda has it

    return work(event, context, Aws(boto3))


def work(event: dict[str, Any], context: Any, aws: Any) -> dict[str, Any]:
    """Do the jobs of an event with these services, and give what Lambda wants to hear."""
    failed = []
    for record in event["Records"]:
        left_s = context.get_remaining_time_in_millis() / 1000 - ROOM_S
        try:
            name, answer = answered(record, aws, left_s)
            aws.put(f"results/{name}.json", json.dumps(answer))
        except Exception as error:  # noqa: BLE001 - whatever it is, the job is not lost
            wait_s = back_s(error, int(record["attributes"]["ApproximateReceiveCount"]))
            why = f"{record['messageId']} comes back: {error!r:.200}"
            logging.warning(why)  # noqa: LOG015 - Lambda's own handler is at the root
            aws.give_back(record["receiptHandle"], wait_s)
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def back_s(error: Exception, tries: int) -> int:
    """Give the seconds after which a job comes back that failed, and was tried so many times."""
    wait_s: int = max(getattr(error, "wait_s", 0), WAIT_S[0] * 2 ** min(tries - 1, 10))
    return min(WAIT_S[1], wait_s)


def answered(record: dict[str, Any], aws: Any, left_s: float) -> tuple[str, dict[str, Any]]:
    """Give the name of a message's answer, and the answer. Raises NotNowError."""
    name = record["messageId"]
    try:
        job = json.loads(record["body"])
        path, body, name = job["path"], job["body"], job.get("id", name)
        sound = path.startswith("/v1/") and isinstance(body, dict) and ID.fullmatch(name)
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        return record["messageId"], {"status": 400, "body": "not a job"}
    return name, ask(job, aws.key(), left_s)


def ask(job: dict[str, Any], key: str, left_s: float) -> dict[str, Any]:
    """Give the engine's answer. Raises NotNowError if it may be another one later."""
    if left_s <= 0:
        raise NotNowError("no time is left")
    request = Request(  # noqa: S310 - where it goes is said by whoever set this up
        os.environ["URL"].rstrip("/") + job["path"],
        data=json.dumps(job["body"] | {"stream": False}).encode(),
        headers={"content-type": "application/json", "authorization": f"Bearer {key}"},
    )
    try:
        with urlopen(request, timeout=left_s) as answer:  # noqa: S310
            return {"status": answer.status, "body": json.load(answer)}
    except HTTPError as error:
        if error.code in LATER:
            raise NotNowError(f"HTTP {error.code}", asked_s(error)) from error
        return {"status": error.code, "body": error.read().decode(errors="replace")}
    except (OSError, HTTPException, ValueError) as error:
        raise NotNowError(f"no answer: {error!r}") from error


def asked_s(error: HTTPError) -> int:
    """Give the seconds after which the engine wants to be asked again; 0 if it does not say."""
    text = error.headers.get("retry-after") or ""
    return int(text) if re.fullmatch("[0-9]{1,6}", text) else 0


class Aws:
    """The services that the worker needs."""

    def __init__(self, boto3: Any) -> None:
        """`boto3` is the module."""
        self._s3, self._sqs = boto3.client("s3"), boto3.client("sqs")
        self._secrets = boto3.client("secretsmanager")

    def key(self) -> str:
        """Give the engine's key."""
        found: str = self._secrets.get_secret_value(SecretId=os.environ["KEY"])["SecretString"]
        return found

    def put(self, name: str, text: str) -> None:
        """Keep an answer."""
        self._s3.put_object(
            Bucket=os.environ["BUCKET"], Key=name, Body=text.encode(),
            ContentType="application/json",
        )  # fmt: skip

    def give_back(self, receipt: str, seconds: int) -> None:
        """Have a message come back after this time."""
        self._sqs.change_message_visibility(
            QueueUrl=os.environ["QUEUE_URL"], ReceiptHandle=receipt, VisibilityTimeout=seconds
        )
