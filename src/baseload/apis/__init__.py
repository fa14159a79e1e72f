"""Wire formats: bytes become values and values become bytes. No I/O, no decisions."""
