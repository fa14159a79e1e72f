"""What a model weighs, and what one token costs it."""
