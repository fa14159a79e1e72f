"""The operator's port: health, metrics, status."""
