"""The same decisions in a world without sockets: events on a heap, time that jumps."""
