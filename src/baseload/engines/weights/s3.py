"""How do weights come from S3, or from a store that speaks like it?

boto3 knows who may read: its variables, profiles and roles are the ones that AWS documents, and
AWS_ENDPOINT_URL names another store. Nothing that it is told is kept or logged here.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from baseload.engines.weights.pieces import Listing, Piece, WeightsError, chosen, sums_of
from baseload.engines.weights.wire import (
    BLOCK_BYTES,
    CONNECT_S,
    CONNECTIONS_MAX,
    SILENCE_S,
    TEXT_BYTES_MAX,
    Answer,
    ChangedError,
    PassingError,
    Source,
)

SUMS = "SHA256SUMS"
_PASSING = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling"}


def source(text: str, rest: str, closes: ExitStack) -> Source:
    """List what SHA256SUMS names below a prefix. Raises WeightsError, PassingError."""
    bucket, _, prefix = rest.partition("/")
    if not bucket:
        raise WeightsError(f"{text}: s3://BUCKET/PREFIX is meant")
    prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
    store = _Bucket(bucket)
    closes.callback(store.close)
    sums = store.text(prefix + SUMS)
    digests = [
        Piece(path, 0, digest, prefix + path) for path, digest in sums_of(sums, SUMS).items()
    ]
    pieces = tuple(
        Piece(piece.path, store.size(piece.at), piece.digest, piece.at)
        for piece in chosen(digests, "", text)
    )
    return Source(Listing(text, "", pieces), store.open)


class _Bucket:
    """A bucket. boto3's clients may be used from several threads."""

    def __init__(self, bucket: str) -> None:
        try:
            import boto3  # noqa: PLC0415 - an extra that only s3:// needs
            from botocore import config, exceptions  # noqa: PLC0415
        except ImportError:
            raise WeightsError(
                "boto3 is not installed: run `pip install 'baseload[weights]'`"
            ) from None
        self._bucket = bucket
        self._errors = exceptions
        settings = config.Config(
            connect_timeout=CONNECT_S,
            read_timeout=SILENCE_S,
            max_pool_connections=CONNECTIONS_MAX,
            retries={"total_max_attempts": 1},  # Trying again is `pulling`'s.
        )
        try:
            self._client = boto3.client("s3", config=settings)
        except (exceptions.BotoCoreError, ValueError) as error:
            raise WeightsError(f"s3://{bucket}: {error}") from None

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def text(self, key: str) -> str:
        """Give a small text."""
        with self._got(key) as answer:
            data: bytes = answer["Body"].read(TEXT_BYTES_MAX)
            return data.decode("utf-8", "replace")

    def size(self, key: str) -> int:
        """Give an object's size."""
        with self._words(key):
            return int(self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"])

    @contextmanager
    def open(self, piece: Piece, begin: int, end: int) -> Iterator[Answer]:
        """Open an object from one byte up to another."""
        with self._got(piece.at, Range=f"bytes={begin}-{end - 1}") as answer:
            said, _, total = str(answer.get("ContentRange", "")).partition("/")
            at = int(said.split()[1].partition("-")[0]) if said else 0
            size = int(total) if total.isdigit() else int(answer["ContentLength"])
            blocks = answer["Body"].iter_chunks(BLOCK_BYTES)
            yield Answer(at, bool(said), size, str(answer.get("ETag", "")), blocks)

    @contextmanager
    def _got(self, key: str, **more: str) -> Iterator[dict[str, Any]]:
        with self._words(key):
            answer = self._client.get_object(Bucket=self._bucket, Key=key, **more)
            with closing(answer["Body"]):
                yield answer

    @contextmanager
    def _words(self, key: str) -> Iterator[None]:
        """Put boto3's errors into ours."""
        called = f"s3://{self._bucket}/{key}"
        try:
            yield
        except self._errors.ClientError as error:
            told = error.response
            code = str(told.get("Error", {}).get("Code", ""))
            status = int(told.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            if status >= 500 or code in _PASSING:
                raise PassingError(f"{called}: {code or status}") from None
            if status == 416:
                raise ChangedError(f"{called}: it has no such part") from None
            hint = "; it needs digests, as `sha256sum` writes them" * key.endswith(SUMS)
            raise WeightsError(f"{called}: {code or status}{hint * (status == 404)}") from None
        except (
            self._errors.ConnectionError, self._errors.HTTPClientError,
            self._errors.IncompleteReadError, self._errors.ResponseStreamingError,
        ) as error:  # fmt: skip
            raise PassingError(f"{called}: {type(error).__name__}") from None
        except self._errors.BotoCoreError as error:
            raise WeightsError(f"{called}: {error}") from None
