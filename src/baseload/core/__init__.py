"""Everything that decides, and nothing that does.

No clock, no sockets, no randomness of its own: facts and the time come in, decisions go out. The
live gateway, the simulator and the tests drive the very same code. The eight laws that keep this
true are in `docs/architecture.md`.
"""
