"""Replicas for tests: one whose turns are simple to reckon with, and one like a measured machine."""

from baseload.plan.queueing.replica import AHEAD, Arrivals


class PlainPace:
    """A double: a turn takes a fixed time, and some for each answer, token read and looked back on.

    Tokens of the longest piece of a prompt take `lone` more.
    """

    def __init__(  # noqa: PLR0917 - each is a number of its own
        self, turn=0.01, answer=1e-4, token=2e-5, look=1e-9, call=0.0, slots=8,
        kv_tokens=100_000, turn_tokens=512, lone=0.0,
    ):  # fmt: skip
        self.turn, self.answer, self.token, self.look, self.call = turn, answer, token, look, call
        self.slots, self.kv_tokens, self.turn_tokens = slots, kv_tokens, turn_tokens
        self.lone = lone

    def turn_s(self, writing, context, reading, read_before, longest):
        seen = writing * context + reading * read_before
        once = self.turn + self.lone * longest
        return once + self.answer * writing + self.token * reading + self.look * seen

    def call_s(self, prompt):
        return self.call


class H200Pace:
    """One H200 with vLLM 0.24 and a model in the shape of R1-Distill-Qwen-7B in bf16.

    Weights and KV cache are read at a part of 4.8 TB/s, matrices multiplied at a part of 989 TFLOPs;
    a turn takes longer than the longer of reading and multiplying weights by as much as a power mean
    says. The six constants in capitals are fitted to closed batches of 512 tokens in and 128 out
    (1 to 256 calls at once), and to nothing else.
    """

    OVERHEAD_S = 1.648e-3
    WEIGHTS_PART, KV_PART, FLOPS_PART = 0.930, 0.688, 0.646
    POWER = 4.17
    CALL_S = 2.73e-3

    BYTES_S, FLOPS = 4.8e12, 989e12
    HEAD_PARAMS = 152_064 * 3584
    LAYER_PARAMS = 6.526e9
    KV_BYTES = 57_344

    slots = 256
    kv_tokens = 1_900_000
    turn_tokens = 8192

    def turn_s(self, writing, context, reading, read_before, longest):
        read_s = 2 * (self.LAYER_PARAMS + self.HEAD_PARAMS) / (self.BYTES_S * self.WEIGHTS_PART)
        tokens = self.LAYER_PARAMS * (writing + reading) + self.HEAD_PARAMS * (
            writing + (reading > 0)
        )
        multiply_s = 2 * tokens / (self.FLOPS * self.FLOPS_PART)
        weights_s = (read_s**self.POWER + multiply_s**self.POWER) ** (1 / self.POWER)
        kv_s = writing * context * self.KV_BYTES / (self.BYTES_S * self.KV_PART)
        attention_s = reading * read_before * 28 * 28 * 128 * 4 / (self.FLOPS * 0.5)
        return self.OVERHEAD_S + weights_s + kv_s + attention_s

    def call_s(self, prompt):
        return self.CALL_S


class PlainReplica:
    """A replica whose every turn is taken, in the most obvious way: what a faster one must match."""

    def __init__(self, pace, arrivals: Arrivals):
        count = len(arrivals.at_s)
        self.pace, self.answers = pace, arrivals.answers
        self.read, self.written = [0] * count, [0] * count
        self.need, self.first, self.last = list(arrivals.prompts), [None] * count, [None] * count
        entering = zip(arrivals.at_s, arrivals.prompts, range(count), strict=True)
        self.to_come = sorted((at + pace.call_s(prompt), n) for at, prompt, n in entering)
        self.waiting, self.running = [], []
        self.now = self.planned = 0.0

    def run(self):
        while self.to_come or self.waiting or self.running:
            if not self.waiting and not self.running:
                self.now = self.planned = max(self.now, self.to_come[0][0])
            while self.to_come and self.to_come[0][0] <= self.planned:
                self.waiting.append(self.to_come.pop(0)[1])
            self._turn()
        return self.first, self.last

    def _turn(self):
        may_enter = self._make_room()
        writers = self._writers()
        budget, seen = self.pace.turn_tokens - len(writers), 0.0
        whole, parts = budget, [0]
        for n in [n for n in self.running if n not in writers]:
            part = min(self.need[n] - self.read[n], budget)
            seen, budget = seen + part * (self.read[n] + part / 2), budget - part
            self.read[n] += part
            parts.append(part)
        while may_enter and budget > 0 and self._has_room(len(writers)):
            self.running.append(n := self.waiting.pop(0))
            self.read[n] = min(self.need[n], budget)
            seen, budget = seen + self.read[n] ** 2 / 2, budget - self.read[n]
            parts.append(self.read[n])
        reading, context = whole - budget, sum(self.need[n] for n in writers) / max(len(writers), 1)
        before = seen / max(reading, 1)
        turn_s = self.pace.turn_s(len(writers), context, reading, before, max(parts))
        self.planned = self.now if AHEAD else self.now + turn_s
        self.now += turn_s
        for n in list(self.running):
            if self.read[n] == self.need[n]:
                self._write(n, n in writers)

    def _writers(self):
        return [n for n in self.running if self.read[n] == self.need[n]]

    def _held(self):
        return sum(self.need[n] for n in self.running)

    def _make_room(self):
        has_room = True
        while self._held() + len(self._writers()) > self.pace.kv_tokens:
            out = self.running.pop()
            self.need[out] += self.read[out] == self.need[out]
            self.read[out] = 0
            self.waiting.insert(0, out)
            has_room = False
        return has_room

    def _has_room(self, writers):
        if not self.waiting or len(self.running) >= self.pace.slots:
            return False
        return self._held() + writers + self.need[self.waiting[0]] <= self.pace.kv_tokens

    def _write(self, n, is_further):
        if is_further:
            self.need[n] = self.read[n] = self.need[n] + 1
        self.written[n] += 1
        self.first[n] = self.now if self.first[n] is None else self.first[n]
        if self.written[n] == self.answers[n]:
            self.last[n] = self.now
            self.running.remove(n)
