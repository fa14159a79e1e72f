"""How long does one turn of an engine take?

Reading weights and multiplying hide behind each other as far as the longer one allows; reading the
cache, attention of prompts, sending and what an engine does for each layer come on top; and its
host process must keep up with all answers. Whatever grows makes a turn longer, and faster hardware
shorter.

    weights  = common read / weights_part + routed read * touched / experts_part
    multiply = written tokens / write_part + read tokens / read_part
    device   = layers * layer_s + turn_s + answers * answer_s + steps * step_s
             + (weights³ + multiply³)^⅓
             + cache / cache_part + attention / read_part + sent / link_part
    turn     = (device⁴ + (answers * host_s)⁴)^¼

Every number in here may also be an array of numpy's: that is how the constants are fitted. So there
is arithmetic only, no `if` and no `max`.

Not here: where the constants come from (`fitted`), times at full speed (`work`).
"""

import msgspec

from baseload.plan.speed.work import Work

HIDING = 3.0
"""How well reading weights and multiplying hide behind each other: 1 not at all, infinite wholly.
Chosen: from 2 to 5 the errors hardly differ."""
KEEPING_UP = 4.0
"""The same for accelerator and host process."""


class Constants(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine reaches of the hardware, and what it takes for itself."""

    layer_s: float
    """For launching one layer."""
    turn_s: float
    """For scheduling and sampling, once a turn."""
    answer_s: float
    """For each answer of a copy, once a turn."""
    host_s: float
    """For each answer, of the host process beside the accelerators."""
    step_s: float
    """Of one wait for another accelerator in the machine."""
    weights_part: float
    """Of the memory's bandwidth when reading weights."""
    experts_part: float
    """When reading routed experts."""
    cache_part: float
    """When reading the KV cache."""
    write_part: float
    """Of the operations a second when writing answers."""
    read_part: float
    """When reading prompts."""
    read_experts_part: float
    """When reading prompts, in the routed experts."""
    link_part: float
    """Of the links' bandwidth."""


def turn_s(
    k: Constants, w: Work, writing: float, context: float, reading: float, before: float
) -> float:
    """Give how long one turn of a whole replica takes, in seconds.

    `writing` answers, which look back on `context` tokens, get one token each; `reading` tokens of
    prompts are read, evenly by all copies, which look back on `before`.
    """
    return uneven_s(k, w, writing, context, reading, reading / w.copies, before)


def uneven_s(
    k: Constants,
    w: Work,
    writing: float,
    context: float,
    reading: float,
    prompt: float,
    before: float,
) -> float:
    """Give the same where one copy reads `prompt` tokens, and none more; others wait for it."""
    answers = writing / w.copies
    touched = 1 - w.missed ** (writing + reading)
    weights = w.common_read_s / k.weights_part + w.routed_read_s * touched / k.experts_part
    own = w.common_token_s + w.head_token_s
    multiply = (
        (answers * own + writing * w.routed_token_s) / k.write_part
        + prompt * w.common_token_s / k.read_part
        + reading * w.routed_token_s / k.read_experts_part
    )
    hidden = (weights**HIDING + multiply**HIDING) ** (1 / HIDING)
    cache = answers * (context * w.cache_token_s + w.cache_answer_s) / k.cache_part
    attention = prompt * before * w.attention_token_s / k.read_part
    sent = (answers + prompt) * (w.send_token_s + w.far_token_s) / k.link_part
    waits = w.steps * k.step_s + w.far_s
    own_s = w.layers * k.layer_s + k.turn_s + answers * k.answer_s
    device = own_s + hidden + cache + attention + sent + waits
    host = writing * k.host_s
    both: float = (device**KEEPING_UP + host**KEEPING_UP) ** (1 / KEEPING_UP)
    return both
