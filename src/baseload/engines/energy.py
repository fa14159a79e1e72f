"""Whose are the joules: how much did each engine draw, and how much for each token?

An engine draws what its GPUs draw: those that `serve.gpus` names, or all. llama.cpp without such
names works on the processor and draws what all packages do, and so what everybody else has them do
as well; there is no way to tell that apart. Of a GPU or package that several engines share, each
has the part that its tokens are of all their tokens in the last WINDOW_S, and an equal part while
there are none. Parts always add up to the whole, idle time included.

Joules per token are those of the window over the tokens of the window. Tokens are known when a call
ends, so a window is long enough for calls to end in it.

Pure: time, readings and tokens are arguments. Not here: reading (`power`).
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from baseload.config.fleet import Backend
from baseload.engines.power import Level
from baseload.engines.sensors import GPU

WINDOW_S = 300.0
LOOKS_MAX = 1024
"""Looks in a window, at most: one every 0.3 s."""
Counts = Mapping[str, int]


class Drawn(NamedTuple):
    """What one engine draws; None is what no sensor tells."""

    joules: float
    """Since we began to look."""
    watts: float | None
    joules_per_token: float | None
    """In the last window in which it wrote tokens."""
    gpu_busy: float | None
    """Mean of its GPUs, 0 to 1."""


def sensors_of(backend: Backend, known: Sequence[str]) -> list[str]:
    """Give the names of those sensors that an engine's work shows at."""
    if backend.engine in (None, "external"):
        return []
    gpus = [name for name in known if name.startswith(GPU)]
    if backend.serve.gpus:
        wanted = {f"{GPU}{index}" for index in backend.serve.gpus}
        return [name for name in gpus if name in wanted]
    if backend.engine == "llama.cpp":
        return [name for name in known if name not in gpus]
    return gpus


class Energy:
    """What the engines of one machine draw."""

    def __init__(self) -> None:
        self._drawn: dict[str, Drawn] = {}
        self._joules: dict[str, float] = {}
        """Each sensor's, at the last look."""
        self._looks: deque[tuple[float, dict[str, float], dict[str, int]]] = deque(maxlen=LOOKS_MAX)
        """When it was, and what each engine drew and wrote since the look before."""

    @property
    def drawn(self) -> Mapping[str, Drawn]:
        """What each engine draws of which anything is known; replaced as a whole."""
        return self._drawn

    def per_token(self) -> dict[str, float]:
        """Give joules per token, by engine, where they are known."""
        found = ((name, drawn.joules_per_token) for name, drawn in self._drawn.items())
        return {name: joules for name, joules in found if joules is not None}

    def note(
        self, engines: Mapping[str, Backend], levels: Mapping[str, Level], tokens: Counts,
        now: float,
    ) -> None:  # fmt: skip
        """Look: at the sensors, and at the tokens that engines wrote since the last look."""
        users = {name: sensors_of(one, list(levels)) for name, one in engines.items()}
        users = {name: sensors for name, sensors in users.items() if sensors}
        weights = self._weights(users, tokens)
        more, watts = dict.fromkeys(users, 0.0), dict.fromkeys(users, 0.0)
        dark = set()
        """Engines that have a sensor which does not tell its watts now."""
        for sensor, level in levels.items():
            shares = _shares([name for name in users if sensor in users[name]], weights)
            passed_j = level.joules - self._joules.get(sensor, 0.0)
            for name, share in shares.items():
                more[name] += share * passed_j
                watts[name] += share * (level.watts or 0.0)
                if level.watts is None:
                    dark.add(name)
        self._joules = {sensor: level.joules for sensor, level in levels.items()}
        self._looks.append((now, more, {name: tokens.get(name, 0) for name in engines}))
        while now - self._looks[0][0] > WINDOW_S:
            self._looks.popleft()
        self._drawn = {
            name: Drawn(
                self._before(name) + more[name], None if name in dark else watts[name],
                self._per_token(name), _busy(levels, users[name]),
            )
            for name in users
        }  # fmt: skip

    def _weights(self, users: Mapping[str, object], tokens: Counts) -> dict[str, int]:
        """Give what each wrote in the window, now included."""
        return {
            name: tokens.get(name, 0) + sum(wrote.get(name, 0) for _, _, wrote in self._looks)
            for name in users
        }

    def _before(self, name: str) -> float:
        known = self._drawn.get(name)
        return 0.0 if known is None else known.joules

    def _per_token(self, name: str) -> float | None:
        """Give it for this window or, if nothing was written, as it was."""
        wrote = sum(tokens.get(name, 0) for _, _, tokens in self._looks)
        if wrote:
            return sum(joules.get(name, 0.0) for _, joules, _ in self._looks) / wrote
        known = self._drawn.get(name)
        return None if known is None else known.joules_per_token


def _shares(names: Sequence[str], weights: Counts) -> dict[str, float]:
    """Divide one into parts by weight; into equal parts if nobody has any."""
    total = sum(weights[name] for name in names)
    return {name: weights[name] / total if total else 1 / len(names) for name in names}


def _busy(levels: Mapping[str, Level], sensors: Sequence[str]) -> float | None:
    told = [levels[name].busy for name in sensors]
    known = [busy for busy in told if busy is not None]
    return sum(known) / len(known) if known else None
