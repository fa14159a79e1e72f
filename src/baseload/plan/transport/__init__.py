"""How long bytes take, from storage and between machines."""
