"""How do the backends stand, when nobody has called them for a while?

Every few seconds each backend is looked at. An engine's own metrics say most: how full its cache
is and how many calls wait inside it. Where there are none, as at any provider's API, the list of
models is asked for with the backend's key, which costs nothing, and the time until the answer
begins says how quick the backend is. A look leads to one `Sight`, or to nothing.

A look that fails is counted and proves nothing: that a backend cannot carry calls is learned from
calls, by the breaker. A page of metrics may be missing where calls do well. A look that succeeds
shows that a backend which was at zero replicas has come up; while calls wait for one, looks hurry.

Looks travel on the pool's own kept connections, so that the time they take is the backend's and
not that of a handshake. It is taken on our side of the wire: a gateway that is late itself sees
every backend late. Bodies of answers are read and dropped, never logged; slots may hold prompts.

Not here: what a sight is good for (`core`), and whether a supervised engine lives (`engines`).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from math import inf
from random import Random
from time import monotonic
from typing import NamedTuple

from baseload.apis.enginemetrics import METRICS_BYTES_MAX, Metrics, Slots, read_metrics, read_slots
from baseload.config.fleet import Backend
from baseload.core.facts import LOST, Fact, Sight
from baseload.gateway.connection import Connection, Lease
from baseload.gateway.upstream import Pool

PROBE_TIMEOUT_S = 2.0
"""How long one look may take, all that it asks together."""
FIRST_LOOK_S_MAX = 0.5
"""First looks come within this time of the start, spread over it."""
JITTER = 0.1
"""The pause between looks varies by this share, so that gateways do not look in step."""
GAP_S_MIN = 0.05
"""There is always so much time between the end of a look and the next one."""
METRICS_AGAIN_S = 60.0
"""Where there are no metrics they are asked for again after this time."""
SLOTS_AGAIN_S = 60.0
"""The number of an engine's slots is fixed at its start; it may be started anew."""
LEARNING_LOOK_S = 1.0
"""How often an engine is looked at whose rate is being learnt, while it has calls."""
ASLEEP_LOOK_S = 1.0
"""How often a backend that may be at zero replicas is looked at while calls wait for it."""
ANSWER_BYTES_MAX = METRICS_BYTES_MAX

logger = logging.getLogger("baseload.gateway")


class _Step(NamedTuple):
    """One thing that a look asks for."""

    path: bytes
    is_from_root: bool


_METRICS = _Step(b"/metrics", True)
_SLOTS = _Step(b"/slots", True)
_PING = _Step(b"/models", False)


class Probes:
    """Looks at all backends that want it, from `start` to `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pools: Mapping[str, Pool],
        backends: Mapping[str, Backend],
        clock: Callable[[], float],
        observe: Callable[[str, Sight], None],
        is_awaited: Callable[[str], bool] = lambda _name: False,
        is_learning: Callable[[str], bool] = lambda _name: False,
    ) -> None:
        """`observe` hears a backend's name and what a look showed; `clock` dates it.

        `is_awaited` says whether a backend is at zero replicas and wanted, `is_learning` whether
        it is being learnt how much it can do at once, and it has calls: then looks hurry.
        """
        self.loop, self.clock, self.observe = loop, clock, observe
        self.is_awaited, self.is_learning = is_awaited, is_learning
        self.rng = Random()  # noqa: S311 - it only keeps gateways out of step
        self.failures: Counter[str] = Counter()
        """Looks that led to nothing, by backend."""
        self.kinds: dict[str, str] = {}
        """Which engine a backend has shown itself to be: `vllm`, `sglang` or `llama.cpp`."""
        self.sights: dict[str, Sight] = {}
        """What the last look at a backend showed that led to something."""
        self._looks: dict[str, _Look] = {}
        self._is_started = False
        self.read(pools, backends)

    def read(self, pools: Mapping[str, Pool], backends: Mapping[str, Backend]) -> None:
        """Look at these backends from now on; who has the same pool as before is not disturbed."""
        looks, self._looks = self._looks, {}
        for name, backend in backends.items():
            look = looks.pop(name, None)
            if look is not None and look.pool is pools[name]:
                self._looks[name] = look
                continue
            if look is not None:
                self._drop(name, look)
            if backend.probe_s > 0:
                self._looks[name] = look = _Look(self, backend, pools[name])
                if self._is_started:
                    look.rest(self.rng.uniform(0.0, FIRST_LOOK_S_MAX))
        for name, look in looks.items():
            self._drop(name, look)

    def _drop(self, name: str, look: "_Look") -> None:
        look.close()
        self.kinds.pop(name, None)
        self.sights.pop(name, None)

    def start(self) -> None:
        """Begin to look."""
        self._is_started = True
        for look in self._looks.values():
            look.rest(self.rng.uniform(0.0, FIRST_LOOK_S_MAX))

    def close(self) -> None:
        """Look no more, and drop what is under way. To be called before the pools are closed."""
        for look in self._looks.values():
            look.close()


class _Look:
    """The looks at one backend, one after the other; the listener of what is being asked."""

    def __init__(self, probes: Probes, backend: Backend, pool: Pool) -> None:
        self.lease: Lease | None = None
        self._probes, self._name, self.pool = probes, backend.name, pool
        self._probe_s = backend.probe_s
        self._may_hurry = (
            backend.cold_start_s > 0 or backend.batch is not None or backend.engine is not None
        )
        self._timer: asyncio.TimerHandle | None = None
        """The next look or, while one is under way, its end."""
        self._due = 0.0
        self._metrics_from = self._slots_from = -inf
        self._slots: Slots | None = None
        self._metrics: Metrics | None = None
        self._is_learning = False

    def rest(self, pause_s: float) -> None:
        """Wait before the next look."""
        self._due = self._probes.clock() + pause_s
        self._doze()

    def close(self) -> None:
        """Drop the look under way, and begin no other."""
        if self._timer is not None:
            self._timer.cancel()
        self._hang_up()

    def _doze(self) -> None:
        """Wait on; where a look may be wanted sooner, not without a glance each second."""
        left_s = self._due - self._probes.clock()
        if self._may_hurry and left_s > ASLEEP_LOOK_S:
            self._set_timer(ASLEEP_LOOK_S, self._glance)
        else:
            self._set_timer(max(left_s, 0.0), self._begin)

    def _glance(self) -> None:
        if self._probes.is_awaited(self._name) or self._may_learn():
            self._begin()
        else:
            self._doze()

    def _may_learn(self) -> bool:
        """Say whether there is something to learn; of who tells nothing there is not."""
        is_asked = self._probes.clock() >= self._metrics_from
        return is_asked and self._probes.is_learning(self._name)

    # -- one look ----------------------------------------------------------------------------

    def _begin(self) -> None:
        now = self._probes.clock()
        probe_s, self._is_learning = self._probe_s, self._may_learn()
        if self._is_learning:
            probe_s = min(probe_s, LEARNING_LOOK_S)
        self._due = now + probe_s * self._probes.rng.uniform(1 - JITTER, 1 + JITTER)
        self._metrics = None
        self._set_timer(PROBE_TIMEOUT_S, self._overdue)
        if now >= self._metrics_from:
            self._ask(_METRICS)
        else:
            self._ask(_SLOTS if self._probes.kinds.get(self._name) == "llama.cpp" else _PING)

    def _ask(self, step: _Step) -> None:
        self._step, self._body, self._is_heard = step, bytearray(), False
        if head := self.pool.get_head(step.path, is_from_root=step.is_from_root):
            self.pool.send(self, (head, b""))
        else:  # An engine that has not started yet: there is nothing to look at.
            self._end()

    def on_answer(self, connection: Connection, body: bytes, is_complete: bool) -> None:
        """Gather the answer; the time is taken at its first sign, after any dialling."""
        if not self._is_heard:
            self._is_heard, self._took_s = True, monotonic() - connection.lent_at
        self._body += body
        if is_complete:
            self.lease = None  # The pool has it back.
        if len(self._body) > ANSWER_BYTES_MAX:
            self._hang_up()
            self._fail(is_reached=True)
        elif is_complete:
            self._take(connection.status, bytes(self._body))

    def on_lost(self, reason: str, fact: Fact) -> None:
        """Give this look up."""
        self.lease = None
        self._fail(is_reached=fact is LOST)

    def _overdue(self) -> None:
        self._hang_up()
        self._fail(is_reached=True)

    # -- what came of it ---------------------------------------------------------------------

    def _take(self, status: int, body: bytes) -> None:
        if self._step is _METRICS:
            self._take_metrics(status, body)
        elif self._step is _SLOTS:
            self._take_slots(status, body)
        elif status < 400 or (status < 500 and not self._probes.is_awaited(self._name)):
            # Even a refusal shows that somebody is there, and how quick; but where a backend is at
            # zero, it may be that of a proxy in front.
            self._see(Sight(self._probes.clock(), ping_s=self._took_s))
        else:
            self._fail(is_reached=True)

    def _take_metrics(self, status: int, body: bytes) -> None:
        kind, metrics = read_metrics(body) if status == 200 else ("", None)
        if kind and metrics:
            self._metrics = metrics
            self._know(kind)
            is_due = self._is_learning or self._probes.clock() >= self._slots_from
            if kind == "llama.cpp" and is_due:
                self._ask(_SLOTS)
            else:
                self._see_engine(metrics)
        elif status == 501:  # llama.cpp's answer, unless its metrics are switched on
            self._put_off_metrics()
            self._ask(_SLOTS)
        elif status >= 500:
            self._fail(is_reached=True)
        else:
            self._put_off_metrics()
            self._know("")
            self._ask(_PING)

    def _take_slots(self, status: int, body: bytes) -> None:
        if status == 503:  # It is loading its model, and would list it all the same.
            self._fail(is_reached=True)
            return
        slots = read_slots(body) if status == 200 else None
        self._slots_from = self._probes.clock() + SLOTS_AGAIN_S
        self._slots = slots
        if self._metrics is not None:
            self._see_engine(self._metrics)
        elif slots:
            self._know("llama.cpp")
            self._see_engine(Metrics(running=slots.running))
        else:
            self._know("")
            self._ask(_PING)

    def _see_engine(self, seen: Metrics) -> None:
        at, slots, made = self._probes.clock(), self._slots, seen.made_tokens
        if self._step is _SLOTS and slots is not None and made is not None:
            made += slots.written  # llama.cpp counts an answer when it ends.
        elif self._probes.kinds.get(self._name) == "llama.cpp":
            made = None  # Half of the truth is none.
        self._see(
            Sight(
                at, seen.kv_usage, seen.waiting, seen.running,
                None if slots is None else slots.number, None,
                seen.kv_tokens if slots is None else slots.kv_tokens,
                made, seen.tokens_per_s, seen.preemptions,
            )
        )  # fmt: skip

    def _know(self, kind: str) -> None:
        """Note which engine it is, or with an empty name that it is none that tells of itself."""
        if kind == self._probes.kinds.get(self._name, ""):
            return
        if kind != "llama.cpp":
            self._slots, self._slots_from = None, -inf
        if kind:
            self._probes.kinds[self._name] = kind
            logger.info("backend %s shows itself to be %s", self._name, kind)
        else:
            del self._probes.kinds[self._name]

    def _put_off_metrics(self) -> None:
        self._metrics_from = self._probes.clock() + METRICS_AGAIN_S

    def _see(self, sight: Sight) -> None:
        self._end()
        self._probes.sights[self._name] = sight
        self._probes.observe(self._name, sight)

    def _fail(self, *, is_reached: bool) -> None:
        """Count it. Where metrics were never seen, the next look asks for something else."""
        self._probes.failures[self._name] += 1
        if is_reached and self._step is _METRICS and self._name not in self._probes.kinds:
            self._put_off_metrics()
        self._end()

    def _end(self) -> None:
        self.rest(max(self._due - self._probes.clock(), GAP_S_MIN))

    def _hang_up(self) -> None:
        lease, self.lease = self.lease, None
        if lease is not None:
            lease.cancel()

    def _set_timer(self, after_s: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._probes.loop.call_later(after_s, then)
