"""`baseload replay`, as a person and as a pipeline see it; and the tape of a real `baseload up`."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
import typer
from click import unstyle
from typer.testing import CliRunner

from baseload import __version__
from baseload.cli.replay import replay
from baseload.core.tape import Ended, Heard, Sent, Ticked
from tests.sim.tapes import END, HEAD, change, put_together, record, taken_apart, write

FLUSHED_S_MAX = 20.0

app = typer.Typer(rich_markup_mode="markdown")
app.command()(replay)


def run(*args):
    """Run the verb."""
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "100"})


@pytest.fixture(scope="module")
def whole() -> bytes:
    """Give the tape of a hundred busy calls."""
    return record(1, 8.0, 100)[0]


@pytest.fixture(scope="module")
def changed(whole: bytes) -> tuple[bytes, Sent]:
    """Give it with another backend in one ask, and that ask."""
    was = []

    def alter(head, lines):
        at = [at for at, line in enumerate(lines) if isinstance(line, Sent)][20]
        was.append(lines[at])
        lines[at] = msgspec.structs.replace(lines[at], backend="moon")

    return change(whole, alter), was[0]


# -- the same ------------------------------------------------------------------------------------


def test_the_same_decisions(tmp_path: Path, whole: bytes):
    """One line says what was replayed, tables say what came of it; exit 0."""
    result = run(write(tmp_path / "tape", whole))

    first, *tables, last = result.stdout.splitlines()
    assert (0, "") == (result.exit_code, result.stderr)
    assert first.startswith(f"{tmp_path}/tape: 100 calls and ")
    assert first.endswith("recorded from 2023-11-14 22:13:20 UTC by baseload 0.1.0")
    assert {"outcome", "done", "backend", "good"} <= {line.split(" ")[0] for line in tables}
    assert "Every decision is the same, from the first to the last." == last


def test_a_tape_that_was_cut(tmp_path: Path, whole: bytes):
    """Without an end a tape is replayed as far as it goes, and that is said; exit 0."""
    result = run(write(tmp_path / "tape", whole[: -len(END) - 1]))

    assert 0 == result.exit_code
    assert "up to where the file was cut" in result.stdout


def test_a_tape_that_gave_up(tmp_path: Path):
    """The reason that a recording gave for its end is shown; exit 0."""
    result = run(write(tmp_path / "tape", put_together(HEAD, [Ended("the disk is too slow")])))

    assert 0 == result.exit_code
    assert "up to where the recording ended: the disk is too slow." in result.stdout


def test_a_defect_is_shown(tmp_path: Path):
    """Errors of core itself are shown, with their events."""
    result = run(write(tmp_path / "tape", put_together(HEAD, [Ticked(2.0), Ticked(1.0)])))

    assert 0 == result.exit_code
    assert "decided nothing: event 2: AssertionError('time ran backwards')" in result.stdout


def test_the_story_of_one_call(tmp_path: Path, whole: bytes):
    """With --call, each of its lines is a sentence with its time, from its arrival to its end."""
    result = run(write(tmp_path / "tape", whole), "--call", 17)

    story = [line for line in result.stdout.splitlines() if " s  " in line]
    assert 0 == result.exit_code
    assert "call 17 came: model " in story[0]
    assert any("asks to send: to " in line for line in story)
    assert " s  ends: " in story[-1]


def test_json(tmp_path: Path, whole: bytes):
    """With --json, one object says the same, the story included."""
    result = run(write(tmp_path / "tape", whole), "--json", "--call", 17)

    answer = msgspec.json.decode(result.stdout)
    told = [
        line for line in taken_apart(whole)[1] if isinstance(line, Heard) and line.call_id == 17
    ]
    assert 0 == result.exit_code
    assert (True, "closed", "0.1.0", 100) == tuple(
        answer[name] for name in ("same", "end", "version", "calls")
    )
    assert 100 == sum(answer["outcomes"].values())
    assert {"attempts", "hedges", "resumed", "relays"} == set(answer["backends"]["good"])
    assert (None, []) == (answer["difference"], answer["failures"])
    assert len(told) == sum(line["what"].startswith("is told ") for line in answer["story"])


# -- not the same --------------------------------------------------------------------------------


def test_a_difference(tmp_path: Path, changed: tuple[bytes, Sent]):
    """The first difference is named, with its event, time and call, and both ways; exit 1."""
    data, sent = changed
    result = run(write(tmp_path / "tape", data))

    *_, where, expected, actual, hint = result.stdout.splitlines()
    assert 1 == result.exit_code
    assert where.startswith("The first difference is at event ")
    assert where.endswith(f" s, call {sent.call_id}:")
    assert expected.startswith("  recorded: asks to send: to moon ")
    assert actual.startswith(f"  now:      asks to send: to {sent.backend} ")
    assert f"`--call {sent.call_id}` tells the story of this call." == hint


def test_a_difference_as_json(tmp_path: Path, changed: tuple[bytes, Sent]):
    """With --json the difference is an object; exit 1."""
    data, sent = changed
    result = run(write(tmp_path / "tape", data), "--json")

    answer = msgspec.json.decode(result.stdout)
    assert (1, False) == (result.exit_code, answer["same"])
    assert {"event", "at_s", "call", "expected", "actual"} == set(answer["difference"])
    assert sent.call_id == answer["difference"]["call"]


def test_a_difference_that_words_do_not_show(tmp_path: Path, whole: bytes):
    """Where two clocks differ in their last digit, both are shown with all of them."""

    def alter(head, lines):
        at = next(at for at, line in enumerate(lines) if isinstance(line, Sent))
        longer_s = lines[at].first_token_s * (1 + 1e-15)
        lines[at] = msgspec.structs.replace(lines[at], first_token_s=longer_s)

    result = run(write(tmp_path / "tape", change(whole, alter)))

    assert 1 == result.exit_code
    assert "first_token_s=30.00000000000003" in result.stdout


def test_another_version_is_named(tmp_path: Path, changed: tuple[bytes, Sent]):
    """A difference may come from a change of ours, so both versions are said."""

    def alter(head, lines):
        return msgspec.structs.replace(head, version="0.0.9")

    result = run(write(tmp_path / "tape", change(changed[0], alter)))

    assert f"It was recorded by baseload 0.0.9; this is {__version__}." in result.stdout


# -- not to be replayed --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it ends before its head does, so there is nothing to replay"),
        (b"[bold]listen: 127.0.0.1:0", "it is no tape: these begin with `baseload tape`"),
        (put_together(HEAD, []) + bytes(40), "it is not the beginning of a block"),
    ],
)
def test_a_file_that_cannot_be_replayed(tmp_path: Path, data: bytes, reason: str):
    """What is wrong is one line on stderr, or with --json an object; exit 2."""
    path = write(tmp_path / "tape", data)
    plain, as_json = run(path), run(path, "--json")

    assert (2, "", 2) == (plain.exit_code, plain.stdout, as_json.exit_code)
    assert plain.stderr.startswith(f"{path}: ")
    assert reason in plain.stderr
    assert reason in msgspec.json.decode(as_json.stdout)["error"]


def test_a_missing_file(tmp_path: Path):
    """A path that cannot be read is exit 2."""
    result = run(tmp_path / "none")

    assert 2 == result.exit_code
    assert f"{tmp_path}/none: it cannot be read: No such file or directory\n" == result.stderr
    assert 2 == run(tmp_path).exit_code


def test_a_call_that_is_not_there(tmp_path: Path, whole: bytes):
    """Asking for the story of an unknown call is exit 2."""
    result = run(write(tmp_path / "tape", whole), "--call", 101)

    assert 2 == result.exit_code
    assert result.stderr.endswith("tape: there is no call 101 on it\n")


def test_help():
    """The help shows an example."""
    assert "baseload replay incident.tape --call 17" in unstyle(run("--help").stdout)


# -- the tape of a process -----------------------------------------------------------------------


@contextmanager
def up(folder: Path, tape: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """Start `baseload up --tape` before a backend that is not there; give it and its URL."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    fleet = folder / "fleet.yaml"
    fleet.write_text(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n"
        f"backends:\n  b: {{url: 'http://127.0.0.1:{port}/v1', api_key: s3cret}}\n"
        "models:\n  m: {tiers: [{b: {model: m}}]}\n"
        "queue: {wait_s: 0.3}\n"
    )
    command = [sys.executable, "-m", "baseload", "up", "-c", fleet, "--tape", tape]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder
    )
    with process.stdout as lines:
        try:
            line = next(line for line in lines if "/v1" in line)
            assert any(str(tape) in line for line in lines)
            yield process, line[line.index("http://") :].strip()
        finally:
            process.kill()
            process.wait(10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_tape_of_a_process_is_replayed_by_another(tmp_path: Path, number: signal.Signals):
    """Drained or killed, a gateway leaves a tape on which every decision is the same."""
    tape = tmp_path / "tape"
    chat = {"model": "m", "messages": [{"role": "user", "content": "a secret plan"}]}
    with up(tmp_path, tape) as (process, url):
        head = {"authorization": "Bearer sk-caller"}
        for _ in range(3):
            answer = httpx.post(f"{url}/chat/completions", json=chat, headers=head, timeout=20)
            assert answer.status_code in (502, 503)
        until = time.monotonic() + FLUSHED_S_MAX
        while number is signal.SIGKILL and not run(tape).stdout.startswith(f"{tape}: 3 calls"):
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(number)
        process.wait(20)
    command = [sys.executable, "-m", "baseload", "replay", str(tape), "--json"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=30)

    answer = msgspec.json.decode(done.stdout)
    assert (True, 3) == (answer["same"], answer["calls"])
    assert ("cut" if number is signal.SIGKILL else "closed") == answer["end"]
    for secret in (b"s3cret", b"sk-caller", b"secret plan", b"127.0.0.1"):
        assert secret not in tape.read_bytes()


def test_a_tape_that_cannot_be_begun_stops_the_start(tmp_path: Path):
    """A path that holds something else is one sentence and exit 1, and nothing is overwritten."""
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n"
        "backends: {b: {url: 'http://127.0.0.1:1/v1'}}\nmodels: {m: {tiers: [{b: {model: m}}]}}\n"
    )
    text = fleet.read_text()
    command = [sys.executable, "-m", "baseload", "up", "-c", str(fleet), "--tape", str(fleet)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=30, cwd=tmp_path
    )

    assert 1 == done.returncode
    assert "is there and is no tape; name another file" in done.stderr
    assert text == fleet.read_text()
