"""What things cost over time."""
