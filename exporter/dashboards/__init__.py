"""Grafana's dashboards, made from the catalogue and the alert table.

A module per dashboard (`overview`, `agents`, `suites`, `exporter`) has its panels by their titles,
each with its queries. The others make of them what Grafana reads.
"""
