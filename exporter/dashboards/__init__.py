"""Grafana's dashboards: a module per dashboard, with its panels and their queries.

`panels.md` holds the panels' descriptions, `grafana.json` the JSON that dashboards or panels share.
"""
