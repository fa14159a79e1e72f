"""How do weights come to a machine, and are they what they should be?

A store is a folder with one folder a model and a manifest in each. `sources` says where models
come from, `pulling` how their files come, `formats` what is never taken, `store` what there is,
`staging` how it gets onto a faster disk, and `finding` what an engine is given.
"""

from baseload.engines.weights.finding import find_weights, served_name

__all__ = ["find_weights", "served_name"]
