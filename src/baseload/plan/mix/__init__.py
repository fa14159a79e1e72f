"""Which ways together are the cheapest."""
