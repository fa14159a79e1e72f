"""The desk for files and batches: what is not a call, but leads to many.

Requests are OpenAI's; each owner, which is a key, sees only their own. All of it waits for a
database, so it is done in a thread while the connection waits.

Not here: running batches (`jobs`), and how they are kept (`store`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs
from uuid import uuid4

import msgspec

from baseload.apis.batch import file_object, list_object, read_batch
from baseload.apis.multipart import read_form
from baseload.apis.openai import BadRequestError, error_body
from baseload.errors import BaseloadError
from baseload.gateway.answering import Caller
from baseload.gateway.jobs import Runner
from baseload.gateway.later import Later
from baseload.gateway.requests import Request
from baseload.store.database import RefusedError
from baseload.store.files import StoredFile
from baseload.store.jobs import PAGE_MAX, Jobs

PURPOSES = ("batch",)
"""What files may be for; nothing here would ever read the others."""
BATCHES_MAX = 100
"""Batches that one owner may have unfinished."""
NAME_CHARACTERS_MAX = 255
QUERY_FIELDS_MAX = 16
"""Fields of a query that are read; any list has three or four."""
LIMIT_DIGITS_MAX = 9
"""More is no length of a page, and Python takes long for very long numbers."""
FILE_BYTES_MIN = 4096
"""What a file takes of its owner's room at least: empty ones are rows, too."""
_JSON = b"content-type: application/json\r\nx-request-id: %b\r\n"
_RAW = b"content-type: application/octet-stream\r\nx-request-id: %b\r\n"

logger = logging.getLogger("baseload.gateway")
_T = TypeVar("_T")
Answer = dict[str, Any]


class _NoSuchThingError(Exception):
    """What is asked for is not there, or is somebody else's."""


class _TooMuchError(Exception):
    """An owner has as much here as one may have; says of what."""


class _Asked(NamedTuple):
    """What is read of a request while it is answered."""

    path: bytes
    body: bytes


class Filing:
    """The desk of one gateway."""

    def __init__(
        self, jobs: Jobs, runner: Runner, thread: ThreadPoolExecutor, storage_bytes: int
    ) -> None:
        """`storage_bytes` is what one owner may keep here."""
        self._jobs, self._runner, self._thread = jobs, runner, thread
        self._storage_bytes = storage_bytes
        self._verbs: dict[str, Callable[[str, str, _Asked], Answer]] = {
            "POST files": self._add_file,
            "GET files": self._list_files,
            "GET files/ID": self._show_file,
            "DELETE files/ID": self._delete_file,
            "POST batches": self._add_batch,
            "GET batches": self._list_batches,
            "GET batches/ID": self._show_batch,
            "POST batches/ID/cancel": self._cancel_batch,
        }

    def handle(
        self, caller: Caller, request: Request, path: bytes, owner: str, request_id: bytes
    ) -> bool:
        """Answer a request for a path below `/v1`; False if there is nothing of the kind."""
        things, *rest = path.decode("utf-8", "replace").strip("/").split("/")
        if things not in ("files", "batches") or len(rest) > 2:
            return False
        verb = f"{request.method.decode()} {things}{'/ID' * (len(rest) > 0)}"
        verb += "".join(f"/{word}" for word in rest[1:])
        if verb == "GET files/ID/content":
            Later(caller, partial(self._give_content, rest[0], owner, request_id))
            return True
        work = self._verbs.get(verb)
        if work is None:
            return False
        # Kept apart: a connection lets its request go as soon as somebody answers it.
        asked = _Asked(request.path, request.body)
        made = partial(work, owner, rest[0] if rest else "", asked)
        Later(caller, partial(self._answer, made, request_id))
        return True

    # -- files -------------------------------------------------------------------------------

    def _add_file(self, owner: str, _: str, asked: _Asked) -> Answer:
        form = read_form(asked.body)
        if "file" not in form or form["file"].file_name is None:
            raise BadRequestError("The form has no file in a field `file`.", "file")
        purpose = form["purpose"].value.decode("utf-8", "replace") if "purpose" in form else ""
        if purpose not in PURPOSES:
            raise BadRequestError("`purpose` must be `batch`: nothing else is read.", "purpose")
        content, name = form["file"].value, form["file"].file_name[:NAME_CHARACTERS_MAX]
        kept = self._jobs.files.bytes_of(owner, FILE_BYTES_MIN)
        if kept + len(content) > self._storage_bytes:
            raise _TooMuchError(
                f"You keep {kept} bytes here, and may keep {self._storage_bytes}. Delete files."
            )
        file_id = f"file-{uuid4().hex}"
        return _object(self._jobs.files.add(file_id, owner, name, purpose, [content], time.time()))

    def _list_files(self, owner: str, _: str, asked: _Asked) -> Answer:
        query = _query(asked)
        limit = _limit(query, 10_000, 10_000)
        page = self._jobs.files.page(
            owner, query.get("after", ""), query.get("purpose", ""), limit + 1,
            is_newest_first=query.get("order", "desc") != "asc",
        )  # fmt: skip
        return list_object([_object(one) for one in page[:limit]], has_more=len(page) > limit)

    def _show_file(self, owner: str, file_id: str, _: _Asked) -> Answer:
        return _object(self._file(owner, file_id))

    def _delete_file(self, owner: str, file_id: str, _: _Asked) -> Answer:
        self._jobs.files.delete(self._file(owner, file_id).id)
        return {"id": file_id, "object": "file", "deleted": True}

    def _file(self, owner: str, file_id: str) -> StoredFile:
        found = self._jobs.files.find(file_id, owner)
        if found is None:
            raise _NoSuchThingError(f"No such file: {file_id[:64]}")
        return found

    async def _give_content(
        self, file_id: str, owner: str, request_id: bytes, later: Later
    ) -> None:
        """Give a file's content, at the pace at which it is read."""
        caller = later.caller
        is_begun = False
        try:
            await self._in_thread(self._file, owner, file_id)
            parts: Iterator[bytes] = self._jobs.files.parts(file_id)
            while (part := await self._in_thread(next, parts, b"")) or not is_begun:
                if is_begun:
                    caller.write(part)
                else:
                    caller.begin(200, _RAW % request_id, part)
                    is_begun = True
                await later.writable()
            caller.end(b"")
        except (_NoSuchThingError, BaseloadError) as error:
            if is_begun:
                caller.abort()
            else:
                _refuse(caller, error, request_id)

    # -- batches -----------------------------------------------------------------------------

    def _add_batch(self, owner: str, _: str, asked: _Asked) -> Answer:
        new = read_batch(asked.body)
        if self._jobs.files.find(new.input_file_id, owner) is None:
            raise BadRequestError(f"No such file: {new.input_file_id[:64]}", "input_file_id")
        if self._jobs.unfinished(owner) >= BATCHES_MAX:
            raise _TooMuchError(f"You have {BATCHES_MAX} batches that are not finished.")
        made = self._jobs.add(f"batch_{uuid4().hex}", owner, new, time.time())
        return made.as_object()

    def _list_batches(self, owner: str, _: str, asked: _Asked) -> Answer:
        query = _query(asked)
        limit = _limit(query, 20, PAGE_MAX - 1)
        page = self._jobs.page(owner, query.get("after", ""), limit + 1)
        items = [one.as_object() for one in page[:limit]]
        return list_object(items, has_more=len(page) > limit)

    def _show_batch(self, owner: str, batch_id: str, _: _Asked) -> Answer:
        found = self._jobs.find(batch_id, owner)
        if found is None:
            raise _NoSuchThingError(f"No such batch: {batch_id[:64]}")
        return found.as_object()

    def _cancel_batch(self, owner: str, batch_id: str, asked: _Asked) -> Answer:
        self._show_batch(owner, batch_id, asked)
        self._jobs.cancel(batch_id, time.time())
        return self._show_batch(owner, batch_id, asked)

    # -- within ------------------------------------------------------------------------------

    async def _answer(self, work: Callable[[], Answer], request_id: bytes, later: Later) -> None:
        caller = later.caller
        try:
            found = await self._in_thread(work)
        except (BadRequestError, BaseloadError, _NoSuchThingError, _TooMuchError) as error:
            _refuse(caller, error, request_id)
            return
        self._runner.wake()
        caller.answer(200, _JSON % request_id, msgspec.json.encode(found))

    def _in_thread(self, call: Callable[..., _T], *args: object) -> Coroutine[Any, Any, _T]:
        async def wait() -> _T:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, call, *args)

        return wait()


def _refuse(caller: Caller, error: Exception, request_id: bytes) -> None:
    status, kind, code, param, message = 400, "invalid_request_error", None, None, str(error)
    if isinstance(error, _NoSuchThingError):
        status, code = 404, "not_found"
    elif isinstance(error, _TooMuchError):
        status, code = 429, "too_much_kept"
    elif isinstance(error, RefusedError):
        message = "The store does not take these values."
    elif isinstance(error, BaseloadError):
        logger.error("files and batches: %s", error)
        status, kind, code = 503, "unavailable_error", "store_unavailable"
        message = "The store of files and batches does not answer. Try again."
    elif isinstance(error, BadRequestError):
        param = error.param
    body = error_body(message, kind, code, param, request_id.decode())
    caller.answer(status, _JSON % request_id, body)


def _object(file: StoredFile) -> Answer:
    return file_object(*file)


def _query(asked: _Asked) -> dict[str, str]:
    text = asked.path.partition(b"?")[2].decode("ascii", "replace")
    try:
        found = parse_qs(text, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise BadRequestError(f"The query has more than {QUERY_FIELDS_MAX} fields.") from None
    return {name: values[0] for name, values in found.items()}


def _limit(query: dict[str, str], usual: int, most: int) -> int:
    text = query.get("limit", str(usual))
    if not text.isdecimal() or len(text) > LIMIT_DIGITS_MAX or not 1 <= int(text) <= most:
        raise BadRequestError(f"`limit` must be a number from 1 to {most}.", "limit")
    return int(text)
