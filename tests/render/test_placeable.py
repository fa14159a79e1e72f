"""What no cluster can run is refused with its line."""

import pytest

from baseload.errors import FleetFileError
from tests.render.pictures import DATA, picture

OTHERS = (DATA / "others.yaml").read_text()


def _refusals(text, folder):
    path = folder / "fleet.yaml"
    path.write_text(text)
    try:
        picture(path)
    except FleetFileError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize(
    ("old", "new", "at", "what"),
    [
        ("      sharing: dra\n", "      sharing: dra\n      to_zero: true\n", "to_zero: true",
         "an HPA goes to zero only behind the feature gate HPAScaleToZero"),
        ("      sharing: dra\n", "      sharing: dra\n      to_zero: true\n      scale_on: cpu\n",
         "to_zero: true", "nothing wakes it with `scale_on: cpu`"),
        ("      replicas_max: 2\n    wide", "      replicas_max: 3\n    wide", "sharing: dra",
         "a claim is one GPU, which carries 2 of 3 replicas"),
        ("  scaler: hpa\n", "  sites: {home: {engine_replicas: {claimed: 4}}}\n", "sharing: dra",
         "a claim is one GPU, which carries 2 of 4 replicas"),
        ("      share: 2\n", "      share: 1\n", "share: 1", "one engine shares with nobody"),
        ("      share: 2\n", "      share: 2\n      engine: sglang\n", "sharing: dra",
         "sglang measures free memory when it starts"),
        ("      accelerator: h100\n      sharing: dra", "      accelerator: mi300x\n      sharing: mps",
         "sharing: mps", "MPS is NVIDIA's"),
        ("      accelerator: h200\n", "      accelerator: mi300x\n", "    spread:",
         "sglang has no usual image for AMD"),
        ("      engine: llama.cpp\n", "", "    bare:", "vllm is rendered for GPUs alone"),
        ("      accelerator: xeon-8380\n", "      accelerator: h100\n", "engine: llama.cpp",
         "llama.cpp is the gateway's own, which has no GPU support"),
        ("      context: 4096\n", "      context: 8192\n", "      context: 8192\n",
         "the gateway's llama.cpp has 4096 tokens for a call"),
        ("pvc://weights/r1/model-q8.gguf", "s3://weights/r1", "s3://weights/r1\n",
         "the gateway's image cannot read buckets"),
        ("model-q8.gguf", "model", "pvc://weights/r1/model", "llama.cpp takes one file"),
        ("l40s\n      per_machine: 2\n      precision: fp8", "ascend-910b\n      per_machine: 4",
         "accelerator: ascend-910b", "no device plugin of Huawei is known here"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_with_its_line(tmp_path, old, new, at, what):
    """One change that no cluster can follow is one complaint, at the line that says it."""
    assert 1 == OTHERS.count(old)
    text = OTHERS.replace(old, new)
    line = 1 + text[: text.rindex(at)].count("\n")

    (found,) = _refusals(text, tmp_path)
    assert f":{line}:" in found
    assert what in found


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("bare_", "at most 36 signs, the last no punctuation"),
        ("b" * 37, "at most 36 signs, the last no punctuation"),
        ("Narrow", "its objects would be called as those of `narrow`"),
    ],
)
def test_backends_that_cannot_name_objects_are_refused(tmp_path, name, what):
    """Objects are called after backends, so these have to differ in what names can hold."""
    (found,) = _refusals(OTHERS.replace("bare:", f"{name}:"), tmp_path)

    assert what in found


def test_what_can_run_is_not_refused(tmp_path):
    """The file that the changes above are made to has no mistake."""
    assert [] == _refusals(OTHERS, tmp_path)
