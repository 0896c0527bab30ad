"""Preflights: checks whether the fleet is fit for a test, by `exporter.settings.preflights`.

`judge` evaluates them over the rows that the board shows, so that commands can do so, too, with
rows from a daemon's API. `report` holds the types of the outcome.
"""
