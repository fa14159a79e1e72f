"""What one engine in a cluster is made of: pods, volumes, staging, sharing, scaling.

Each module gives plain objects with `Param`s; `kubernetes.engines` puts them together.
"""
