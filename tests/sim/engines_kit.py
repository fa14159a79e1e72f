"""An engine in turns behind a gate, with callers who never tire: what the tests of batches share.

The engine is a model (`sim.engine`): what is shown here is that the gate finds that model's knee,
and proves nothing of any real engine.
"""

from heapq import heappop
from random import Random

from baseload.config.fleet import Model, Overload, Queue, Target
from baseload.config.serving import Batch
from baseload.core.facts import DONE
from baseload.core.gate import Gate
from baseload.core.setup import Setup
from baseload.sim.engine import Engine, Machine
from baseload.sim.kernel import Kernel
from baseload.sim.workload import Kind, Outcome, Providers, Sources

STEPS_MAX = 5_000_000


class Watched(Engine):
    """The engine, with a note of when each call had its first token."""

    def __init__(self, name, kernel, rng, machine) -> None:
        super().__init__(name, kernel, rng, machine)
        self.firsts: dict[int, float] = {}

    def _tell(self, running, fact) -> None:
        self.firsts.setdefault(running.ask.call.id, self._kernel.now)
        super()._tell(running, fact)


class Scene:
    """One engine `e`, given as much as `batch` says, and what became of the calls."""

    def __init__(self, machine: Machine, batch: Batch, seed: int = 1, spread: float = 0.5) -> None:
        self.kernel = kernel = Kernel()
        rng = Random(seed)
        self.engine = Watched("e", kernel, rng, machine)
        model = Model(name="m", tiers=({"e": Target(backend="e", model="m")},), first_token_s=600.0)
        setup = Setup(
            models={"m": model},
            concurrency={"e": batch.max},
            batches={"e": batch},
            queue=Queue(size=1000, wait_s=600.0),
            overload=Overload(),
        )
        self.gate = Gate(setup, Random(seed))
        world = Providers([self.engine], rng, spread=spread)
        self.sources = Sources(kernel, self.gate, world, rng)
        self.outcomes: list[Outcome] = []
        self.levels: list[tuple[float, int]] = []
        self._rng = rng
        self._look()

    def crowd(self, kind: Kind, number: int) -> None:
        """Let so many callers ask again and again, each as soon as it was answered."""
        self.sources.on_outcome = self._again
        for _ in range(number):
            self.sources.start(kind)

    def run(self, until: float) -> float:
        """Run on; give the tokens a second that were written meanwhile."""
        since, made = self.kernel.now, self.engine.made_tokens
        for _ in range(STEPS_MAX):
            heap = self.kernel._heap
            if not heap or heap[0][0] > until:
                break
            self.kernel.now, _, do = heappop(heap)
            do()
        self.kernel.now = until
        return (self.engine.made_tokens - made) / (until - since)

    def _again(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.sources.outcomes = None
        if outcome.fact is DONE:
            self.kernel.at(self.kernel.now + 0.01, lambda: self.sources.start(outcome.kind))

    def _look(self) -> None:
        self.sources.driver.observe("e", self.engine.look())
        self.levels.append((self.kernel.now, self.gate.seats["e"].limit.limit))
        self.kernel.at(self.kernel.now + self._rng.uniform(0.9, 1.1), self._look)
