"""The live data plane: sockets on both sides, and nothing decided here."""
