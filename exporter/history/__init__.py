"""The history of each target: transitions, hourly counts and runs of suites, in a bounded file.

This package keeps a summary of the readings of weeks. The newest readings themselves are in
`exporter.fleet.recent`.
"""
