"""Model folders without weights, for engines that can make them up (`--load-format dummy`).

The shape is that of R1-Distill-Qwen-7B. The tokenizer has one token a byte, so a prompt of so many
digits has so many tokens, however a library splits words for this kind of model. With made-up
weights a model says nonsense at full speed: good for measuring time, memory and watts, and for
nothing else.
"""

import json
from pathlib import Path
from typing import Any

from baseload.engines.quantising.w8a8 import SCHEME

SHAPE: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
    "torch_dtype": "bfloat16",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "use_sliding_window": False,
}
"""From the config.json of deepseek-ai/DeepSeek-R1-Distill-Qwen-7B."""
SMALL = {"hidden_size": 1536, "intermediate_size": 8960, "num_attention_heads": 12,
         "num_key_value_heads": 2, "vocab_size": 151936}  # fmt: skip
"""R1-Distill-Qwen-1.5B, where it differs."""


def write(folder: Path, *, is_int8: bool = False, is_small: bool = False) -> Path:
    """Write a model's folder, if it is not there, and give it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: PLC0415

    config = SHAPE | (SMALL if is_small else {})
    if is_int8:
        config = config | {"quantization_config": SCHEME}
    if (folder / "generation_config.json").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    signs = ["<unk>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    signs += [f"w{number}" for number in range(len(signs), config["vocab_size"])]
    names = {sign: number for number, sign in enumerate(signs)}
    tokenizer = Tokenizer(models.BPE(names, merges=[], unk_token="<unk>"))
    digits, rest = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, rest])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {
        "config.json": config,
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
            "model_max_length": SHAPE["max_position_embeddings"],
            "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
        },
        "generation_config.json": {"eos_token_id": 2},
    }  # fmt: skip
    for name, value in told.items():
        (folder / name).write_text(json.dumps(value))
    return folder
