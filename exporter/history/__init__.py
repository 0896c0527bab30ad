"""The history of each target: transitions, hours and results of suites, in a file that is bounded.

What the readings of weeks come to is kept here; the newest readings themselves are in
`exporter.fleet.recent`.
"""
