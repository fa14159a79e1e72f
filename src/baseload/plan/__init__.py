"""What to run, where, and what it costs: catalogue, memory, speed, queueing, cost, the mix."""
