"""Metrics: their names, the mapping from readings to samples, and the exporter's own figures.

A metric's name is spelled in `catalogue` or `own` and nowhere else. How samples become the bytes of
`/metrics` is in `exposition`.
"""
