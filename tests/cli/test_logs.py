"""Log lines: their forms, what is never in them, and what happens when nobody reads them."""

import io
import json
import logging
import queue

import msgspec

from baseload.cli.logs import Redactor, _Hopper, logs
from baseload.config.fleet import Backend, Fleet, Model, Target
from baseload.config.tenancy import Store
from baseload.config.watching import Log
from baseload.gateway.eavesdropping import Eavesdropper
from baseload.gateway.watching import Watching
from tests.gateway.harness import Backend as Double
from tests.gateway.harness import chat, on_uvloop, raw, start_gateway

SECRET = "sk-this-is-a-secret-of-the-fleet"


def fleet_with(log: Log) -> Fleet:
    """Give a fleet with a secret in it."""
    backend = Backend(name="b", url="http://127.0.0.1:1/v1", api_key=SECRET)
    model = Model(name="m", tiers=({"b": Target(backend="b", model="m")},))
    return Fleet(backends={"b": backend}, models={"m": model}, log=log)


def written(monkeypatch, log: Log, *records: tuple) -> list[str]:
    """Give the lines that come of some records."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with logs(fleet_with(log)):
        for name, level, text, *extra in records:
            logging.getLogger(name).log(level, text, extra=extra[0] if extra else None)
    return stream.getvalue().splitlines()


def test_json_lines_hold_fields(monkeypatch):
    """Each line is one object, with the fields that were added, whatever their kind."""
    (line,) = written(
        monkeypatch, Log(format="json"), ("baseload.x", logging.WARNING, 'a "b"\nc', {"key": 1})
    )
    found = json.loads(line)

    assert ("warning", "baseload.x", 'a "b"\nc', 1) == (
        found["level"], found["logger"], found["message"], found["key"],
    )  # fmt: skip
    assert found["time"].endswith("Z")


def test_levels_are_kept(monkeypatch):
    """What is below the level is not written."""
    lines = written(
        monkeypatch, Log(level="warning"), ("a", logging.INFO, "one"), ("a", logging.ERROR, "two")
    )

    assert 1 == len(lines)
    assert lines[0].endswith("ERROR a: two")


def test_secrets_of_the_fleet_never_get_out(monkeypatch):
    """Even a line that somebody made from a secret is written without it, traceback included."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    for form in ("console", "json"):
        with logs(fleet_with(Log(format=form))):
            try:
                int(SECRET)
            except ValueError:
                logging.getLogger("a").exception("oops %s", SECRET, extra={"header": SECRET})

    assert SECRET not in stream.getvalue()
    assert 4 < stream.getvalue().count("***")


def test_passwords_of_stores_never_get_out(monkeypatch):
    """As they stand in the URL and as they are meant."""
    store = Store(ledger="postgresql://u:s3cret%2Fpass@h/db", counters="rediss://:another-one@h/0")
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with logs(msgspec.structs.replace(fleet_with(Log()), store=store)):
        logging.getLogger("baseload.x").warning("s3cret%2Fpass s3cret/pass another-one")

    assert stream.getvalue().endswith("*** *** ***\n")


def test_short_secrets_are_left():
    """A secret of a few letters would blot out half of every line."""
    assert "abc" == Redactor(["b", ""]).clean("abc")


def test_what_is_said_cannot_look_like_a_line_of_the_log(caplog):
    """Where bodies are logged, each is one line, whatever stands in it."""
    with caplog.at_level(logging.INFO, "baseload.bodies"):
        Eavesdropper(NoCaller(), b"req-1", b"hi\n2026 INFO forged\r\x1b[2J")  # type: ignore[arg-type]

    (record,) = caplog.records
    assert record.getMessage().endswith("hi\\n2026 INFO forged\\x0d\\x1b[2J")


class NoCaller:
    """A double of a caller that is never told anything."""


def test_lines_that_nobody_reads_are_counted():
    """When the line to the writer is full, others are dropped and their number is said."""
    hopper = _Hopper(queue.Queue(2))
    for number in range(5):
        hopper.emit(logging.makeLogRecord({"msg": str(number)}))
    hopper.queue.get()
    hopper.queue.get()
    hopper.emit(logging.makeLogRecord({"msg": "later"}))

    assert ["3 log lines were dropped: nobody read them quickly enough", "later"] == [
        hopper.queue.get().getMessage() for _ in range(2)
    ]


@on_uvloop
async def test_no_prompt_and_no_answer_is_logged(caplog):
    """With all that can be switched on but `bodies`, lines hold neither, nor the caller's key."""
    caplog.set_level(logging.DEBUG)
    log = Log(calls=True, level="debug")
    async with Double() as backend, start_gateway(backend, log=log) as gateway:
        watching = Watching(gateway)
        for stream in (False, True):
            data = chat(stream=stream, user="marmalade")
            data = data.replace(b"Host:", b"Authorization: Bearer sk-marmalade\r\nHost:")
            await raw(gateway.address[1], data)
        await watching.stop()

    lines = [record for record in caplog.records if record.name == "baseload.calls"]
    assert 2 == len(lines)
    assert ("completions", "done") == (lines[0].api.rpartition("/")[2], lines[0].outcome)
    everything = msgspec.json.encode([vars(one) for one in caplog.records], enc_hook=str)
    assert b"marmalade" not in everything
    assert b"hello" not in everything


@on_uvloop
async def test_bodies_are_logged_only_when_asked_for(caplog):
    """The debug switch writes both, and the fleet's notes say so in capitals."""
    caplog.set_level(logging.INFO)
    async with Double() as backend, start_gateway(backend, log=Log(bodies=True)) as gateway:
        await raw(gateway.address[1], chat(user="marmalade"))
        await raw(gateway.address[1], chat(stream=True))

    text = "\n".join(one.getMessage() for one in caplog.records if one.name == "baseload.bodies")
    assert "marmalade" in text
    assert "hello" in text
