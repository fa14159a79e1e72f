"""The doctor: what is wrong with a Kubernetes manifest that somebody already has, and its cure."""
