"""Grafana's dashboards, as code: `make dashboards` writes the JSON that comes with the package.

They are the same for every fleet: models and backends are variables. So nobody who renders needs
Grafana's SDK, and what is shipped is what was checked.
"""
