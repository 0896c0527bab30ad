"""The fleet as people see it: rows, filters, details and the verdict on the whole.

It is shared by the pages, the JSON API and the terminal, so that they agree. Everything here is
made from snapshots without I/O; how it is written out belongs to `web` and `commands`.
"""
