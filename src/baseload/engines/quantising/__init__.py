"""Can a model be made smaller and faster without losing what it knows? Converted, measured, judged.

`job` joins the parts: `converting` writes a model in another precision, `scoring` finds out how
well it still predicts, `speed` how fast it serves, `gate` whether it may be published, `report`
says all of it. GGUF models run on llama.cpp. `w8a8` writes INT8 for vLLM, and `vllm` has vLLM
itself measure that and its own FP8; what both ways share is in `comparing`.
"""
