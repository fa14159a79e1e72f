"""What infrastructure does a fleet need? Text for Kubernetes, Terraform and monitoring.

Rendering is pure: a `Picture` goes in, files come out, and the same picture gives the same bytes.
"""
