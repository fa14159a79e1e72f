# ruff: noqa: INP001 - a file of its own, which SCF runs
"""Takes jobs that can wait from a bucket to an engine, and puts the answers there too.

A job is an object `jobs/NAME.json`: `path` (`/v1/chat/completions`), `body`, and an `id` by which
to find its answer, or its name. The answer is `results/ID.json`: `status` and `body`; the job is
then removed. What an answer is, and which jobs come back, is in `worker.py`.

A job that is to come back stays where it is. The function is called again for it, twice; after that
a timer calls once an hour, and takes up what still lies there. Uses what SCF's Python brings along.
"""

import json
import logging
import os
from typing import Any

import worker  # type: ignore[import-not-found]

LEFT_S = 840.0
"""SCF stops a function after 15 minutes."""
AGAIN_MAX = 1
"""Jobs that one call of the timer takes up: there is time for one that takes as long as any may."""


def main_handler(event: dict[str, Any], context: Any) -> str:  # noqa: ARG001
    """Work on the jobs of an event. Raises if one of them is to come back."""
    return work(event, Tencent())


def work(event: dict[str, Any], tencent: Any) -> str:
    """Do the jobs of an event, or one that was left, with these services."""
    if event.get("Type") == "Timer":
        keys = tencent.jobs()[:AGAIN_MAX]
    else:
        keys = [key_of(record) for record in event["Records"]]
    for key in keys:
        do(key, tencent)
    return f"{len(keys)} done"


def key_of(record: dict[str, Any]) -> str:
    """Give the object's name in its bucket; the event has account and bucket before it."""
    found: str = record["cos"]["cosObject"]["key"]
    return found.split("/", 3)[3]


def do(key: str, tencent: Any) -> None:
    """Do the job that lies under a name."""
    text = tencent.get(key)
    if text is None:
        logging.warning("%s is done already", key)  # noqa: LOG015
        return
    plain = key.removeprefix("jobs/").removesuffix(".json")
    name, answer = worker.answered({"messageId": plain, "body": text}, tencent, LEFT_S)
    tencent.put(f"results/{name}.json", json.dumps(answer))
    tencent.remove(key)


class Tencent:
    """The services that the worker needs, by the temporary keys of its role."""

    def __init__(self) -> None:
        from qcloud_cos import (  # type: ignore[import-not-found] # noqa: PLC0415
            CosConfig,
            CosS3Client,
        )

        self._bucket, self._region = os.environ["BUCKET"], os.environ["REGION"]
        names = ("TENCENTCLOUD_SECRETID", "TENCENTCLOUD_SECRETKEY", "TENCENTCLOUD_SESSIONTOKEN")
        self._keys = [os.environ[name] for name in names]
        secret_id, secret_key, token = self._keys
        self._cos = CosS3Client(
            CosConfig(Region=self._region, SecretId=secret_id, SecretKey=secret_key, Token=token)
        )

    def jobs(self) -> list[str]:
        """Give the names of jobs that lie there, in order."""
        found = self._cos.list_objects(Bucket=self._bucket, Prefix="jobs/", MaxKeys=100)
        return [each["Key"] for each in found.get("Contents", []) if each["Key"].endswith(".json")]

    def get(self, key: str) -> str | None:
        """Give an object; None: there is none."""
        if not self._cos.object_exists(Bucket=self._bucket, Key=key):
            return None
        body = self._cos.get_object(Bucket=self._bucket, Key=key)["Body"]
        found: str = body.get_raw_stream().read().decode()
        return found

    def put(self, key: str, text: str) -> None:
        """Keep an answer."""
        self._cos.put_object(Bucket=self._bucket, Key=key, Body=text.encode())

    def remove(self, key: str) -> None:
        """Remove a job that is done."""
        self._cos.delete_object(Bucket=self._bucket, Key=key)

    def key(self) -> str:
        """Give the engine's key."""
        from tencentcloud.common import credential  # type: ignore[import-not-found] # noqa: PLC0415
        from tencentcloud.ssm.v20190923 import (  # type: ignore[import-not-found] # noqa: PLC0415
            models,
            ssm_client,
        )

        asked = models.GetSecretValueRequest()
        asked.SecretName, asked.VersionId = os.environ["SECRET"], "v1"
        client = ssm_client.SsmClient(credential.Credential(*self._keys), self._region)
        found: str = client.GetSecretValue(asked).SecretString
        return found
