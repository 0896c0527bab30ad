"""The fleet as people see it: rows, filters, details and the verdict on the whole fleet.

The pages, the JSON API and the commands share this package, so that they agree. Everything here is
computed from snapshots without I/O; the output is written by `web` and `commands`.
"""
