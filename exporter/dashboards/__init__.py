"""Grafana's dashboards: a module for each has a row per panel, with its queries.

`panels.md` says what each panel shows, `grafana.json` has what Grafana reads of all alike.
"""
