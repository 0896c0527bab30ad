"""Grafana's dashboards, made from the catalogue and the alert table."""
