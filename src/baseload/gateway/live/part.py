"""What does one of several processes tell of itself, for a page that shows them all?

What its own page would show, and beside it what sums are made of: percentiles of several cannot be
added up, the buckets below them can; nor can shares and rates, but what they were divided from can.
Ticks count each process's own looks and mean nothing to others, so here one goes by seconds of the
day, which all processes of a machine have in common.

Not here: how parts become one page; that is for whoever has them all.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile

import msgspec

from baseload.gateway.gateway import Gateway
from baseload.gateway.live.buckets import Step
from baseload.gateway.live.happenings import Happening
from baseload.gateway.live.pulse import Pulse, Sample, Timing
from baseload.gateway.live.standing import MODES
from baseload.gateway.live.view import State, View


class Tally(msgspec.Struct, frozen=True, array_like=True):
    """What a backend's shares and percentiles are made of."""

    attempts: int
    """Of the last minute."""
    answered: int
    """Of the last ten seconds."""
    first_token: list[Step]
    """Of the last minute."""


class Part(msgspec.Struct, frozen=True):
    """One process's part of the page."""

    state: State
    first: int
    """The second of the oldest sample that is kept: of those before it nothing is known."""
    samples: list[Sample]
    timings: list[Timing]
    """One for each sample."""
    happenings: list[Happening]
    tallies: dict[str, Tally]
    """By backend."""
    alarms: list[str]


class Look(msgspec.Struct, frozen=True, array_like=True):
    """What is asked for: samples and happenings after a second, and what we cannot know alone."""

    since: int
    engines: dict[str, str]


def take_part(gateway: Gateway, view: View, look: Look, alarms: Sequence[str]) -> Part:
    """Tell our part; to be called in the event loop's thread. The pulse must keep its timings."""
    pulse = gateway.pulse
    assert pulse.timings is not None
    modes = {name: MODES[order] for name, order in gateway.orders.items()}
    state = view.take(pulse.tick, look.engines, modes).state
    pairs = zip(reversed(pulse.samples), reversed(pulse.timings), strict=True)
    new = list(takewhile(lambda pair: pair[0].at >= look.since + 1, pairs))[::-1]
    return Part(
        state=state,
        first=int(pulse.samples[0].at if pulse.samples else state.at + 1),
        samples=[sample for sample, _ in new],
        timings=[timing for _, timing in new],
        happenings=[one for one in pulse.happenings.kept if one.at >= look.since + 1],
        tallies=dict(_tallies(pulse, gateway.fleet.backends)),
        alarms=list(alarms),
    )


def _tallies(pulse: Pulse, names: Mapping[str, object]) -> Iterator[tuple[str, Tally]]:
    for name in names:
        recent = pulse.recent[name]
        yield (
            name,
            Tally(
                sum(second.attempts for second in recent.seconds),
                sum(second.answered for second in recent.brisk()),
                recent.first_tokens(),
            ),
        )
