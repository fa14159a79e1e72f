"""Monitoring: what Prometheus, Alertmanager and Grafana must know of a fleet."""
