"""The live data plane on real sockets."""
