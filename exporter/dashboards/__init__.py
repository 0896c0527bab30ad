"""Grafana's dashboards, made from the catalogue and the alert table.

A module per dashboard (`overview`, `agents`, `suites`, `exporter`) has a row per panel with its
queries; `panels.md` says what each shows, `grafana.json` has what Grafana reads of all alike.
"""
