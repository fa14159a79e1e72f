"""How fast a model runs on given hardware."""
