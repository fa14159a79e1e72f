"""Wire formats: pure functions of bytes."""
