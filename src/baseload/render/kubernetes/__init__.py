"""Kubernetes: which objects does a fleet take, as plain YAML with kustomize, and as a Helm chart?

Objects are built once, with a `Param` in each place that a person or a site may set. Kustomize gets
the values themselves and patches for each site; the chart gets templates and the same values.
"""
