"""What is each cloud's root module told of a fleet? One module a cloud, and one for all (`common`).

A cloud's has `settings(group, picture)`, the values of its root module's variables in order, and
`state(group, environment)`, what its backend is told. Their names are the ones in `variables.tf`.
"""
