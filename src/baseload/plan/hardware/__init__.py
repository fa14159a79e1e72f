"""What a model fits on."""
