"""Figures that are often quoted, worked out again: what follows from what, and what does not."""
