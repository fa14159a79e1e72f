"""What does a precision cost and bring in vLLM? vLLM itself is asked, on the GPU that is there.

`job` joins the parts: `server` starts one vLLM for each precision, `scoring` has it read the text
and do the tasks, `speed` measures how fast it serves. All of it goes over vLLM's HTTP, so nothing
of vLLM's is imported and it may live in an environment of its own.
"""
