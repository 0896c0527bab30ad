"""Simulated vendors with a living fleet, for the demo, tests and benchmarks.

Nothing here knows the exporter, and the exporter's sources know nothing of this package: both
sides meet over HTTP only, in the shapes of the vendors' replies. The tokens and passwords of the
simulated world are invented and open nothing, therefore they are plain strings.
"""
