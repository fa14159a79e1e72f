"""What an operator sees: the last minutes, what has happened, and what is wrong now."""
