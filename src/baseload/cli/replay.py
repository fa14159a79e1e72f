"""`baseload replay`: does a tape's gate decide again as it did when the tape was made?

For the morning after: an incident that was recorded (`baseload up --tape`) is decided again by the
very code that decided it, or by the code that is meant to do better. Nothing is sent anywhere, and
no fleet file is needed: a tape holds all that decisions depend on.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from baseload import __version__
from baseload.core.records import Line, TapeError
from baseload.core.tape import CLOSED
from baseload.sim import replay as tapes
from baseload.sim.replay import CUT, STORY_LINES_MAX, Difference, Verdict
from baseload.sim.story import sentence

DIFFERS = 1
UNUSABLE = 2


def replay(
    tape: Annotated[Path, typer.Argument(metavar="TAPE", help="What `up --tape` wrote.")],
    call: Annotated[
        int | None, typer.Option("--call", metavar="ID", help="Tell the story of this call too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Take the decisions of a tape again, and compare them with the recorded ones.

    Exits with 0 if all are the same, with 1 if one differs (it is named), and with 2 if the file
    cannot be replayed. A tape that was cut off by a kill is replayed as far as it goes.

    Example: baseload replay incident.tape --call 17
    """
    try:
        verdict = tapes.replay(tape, call)
    except TapeError as error:
        _refuse(tape, str(error), as_json=as_json)
    except OSError as error:
        _refuse(tape, f"it cannot be read: {error.strerror or error}", as_json=as_json)
    if call is not None and not verdict.story:
        _refuse(tape, f"there is no call {call} on it", as_json=as_json)
    if as_json:
        _say(_json(tape, verdict))
    else:
        _draw(tape, verdict)
    raise typer.Exit(DIFFERS if verdict.difference else 0)


def _refuse(tape: Path, what: str, *, as_json: bool) -> NoReturn:
    if as_json:
        _say(_as_text({"file": str(tape), "error": what}))
    else:
        Console(stderr=True).out(f"{tape}: {what}", highlight=False)
    raise typer.Exit(UNUSABLE)


def _say(text: str) -> None:
    """Write lines as they are: rich would wrap them, and read brackets as markup."""
    Console().out(text, highlight=False)


def _as_text(answer: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(answer)).decode()


def _json(tape: Path, verdict: Verdict) -> str:
    began, story = verdict.head.now, verdict.story
    differs = verdict.difference
    expected, actual = _both(differs) if differs else ("", "")
    return _as_text(
        {
            "file": str(tape),
            "same": differs is None,
            "end": verdict.end,
            "version": verdict.head.version,
            "unix_s": verdict.head.unix_s,
            "span_s": verdict.last - began,
            "events": verdict.events,
            "calls": verdict.calls,
            "outcomes": verdict.outcomes,
            "backends": verdict.uses,
            "failures": verdict.failures,
            "difference": differs
            and {
                "event": differs.event,
                "at_s": differs.now - began,
                "call": differs.call_id,
                "expected": expected,
                "actual": actual,
            },
            "story": [{"at_s": now - began, "what": sentence(line)} for now, line in story],
        }
    )


def _both(differs: Difference) -> tuple[str, str]:
    """Say what was recorded and what was decided now, so that the two can be told apart."""
    expected, actual = _words(differs.expected), _words(differs.actual)
    if expected == actual:  # They differ in a digit that sentences round away.
        return repr(differs.expected), repr(differs.actual)
    return expected, actual


def _words(line: Line | None) -> str:
    return "nothing" if line is None else sentence(line)


def _draw(tape: Path, verdict: Verdict) -> None:
    began = verdict.head.now
    when = datetime.fromtimestamp(verdict.head.unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    _say(
        f"{tape}: {verdict.calls:,} calls and {verdict.events:,} events in "
        f"{verdict.last - began:,.1f} s, recorded from {when} by baseload {verdict.head.version}"
    )
    for now, line in verdict.story:
        _say(f"{now - began:10.3f} s  {sentence(line)}")
    if len(verdict.story) >= STORY_LINES_MAX:
        _say(f"(only its first {STORY_LINES_MAX:,} lines)")
    if verdict.calls:
        _draw_tables(verdict)
    if verdict.difference:
        _draw_difference(verdict.difference, verdict)
    else:
        _say(f"Every decision is the same, {_how_far(verdict.end)}.")
    for failure in verdict.failures:
        _say(f"core itself failed, and so decided nothing: {failure}")


def _how_far(end: str) -> str:
    if end == CLOSED:
        return "from the first to the last"
    if end == CUT:
        return "up to where the file was cut: the gateway was killed, or is still writing"
    return f"up to where the recording ended: {end}"


def _draw_tables(verdict: Verdict) -> None:
    outcomes = Table("outcome", "calls", box=None, pad_edge=False)
    for fact, count in sorted(verdict.outcomes.items(), key=lambda item: (-item[1], item[0])):
        outcomes.add_row(fact, f"{count:,}")
    if left := verdict.calls - verdict.outcomes.total():
        outcomes.add_row("(not ended)", f"{left:,}")
    backends = Table(
        "backend", "attempts", "hedges", "resumed", "relayed", box=None, pad_edge=False
    )
    for name, use in verdict.uses.items():
        counts = (use.attempts, use.hedges, use.resumed, use.relays)
        backends.add_row(escape(name), *(f"{count:,}" for count in counts))
    console = Console()
    console.print(outcomes)
    console.print(backends)


def _draw_difference(differs: Difference, verdict: Verdict) -> None:
    expected, actual = _both(differs)
    at_s = differs.now - verdict.head.now
    _say(f"The first difference is at event {differs.event}, {at_s:.3f} s, call {differs.call_id}:")
    _say(f"  recorded: {expected}")
    _say(f"  now:      {actual}")
    if verdict.head.version != __version__:
        _say(f"It was recorded by baseload {verdict.head.version}; this is {__version__}.")
    if not verdict.story:
        _say(f"`--call {differs.call_id}` tells the story of this call.")
