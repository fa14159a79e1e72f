"""Model servers that baseload starts itself, and keeps running.

A fleet file may say `engine: llama.cpp` instead of a URL. This room turns such a backend into an
address that speaks OpenAI's API: it finds the weights, starts the server as a child process, calls
it ready only once it has really answered, and starts it again when it dies.

The server is never a library inside the gateway: a crash or a leak in native code must not take
the callers' connections with it. Calls to the engine are none of this room's business either; the
gateway reaches it over HTTP like any other backend.
"""
