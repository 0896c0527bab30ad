"""Metrics: the families, the mapping from readings to samples, and the exporter's own metrics.

The names of metrics are only in `catalogue` and `own`. `exposition` turns samples into the bytes of
`/metrics`.
"""
