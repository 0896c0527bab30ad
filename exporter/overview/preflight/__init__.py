"""Preflight: whether the fleet is fit for a test, by the checks of `exporter.settings.preflights`.

It is judged over the rows that the board shows, so a process that has only these can judge it as
well. `report` has what comes out of it.
"""
