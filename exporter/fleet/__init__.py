"""The fleet as it is known: what was read of it, without a vendor's or a metric's name.

Kinds of targets, readings, the store of snapshots, and what is derived from snapshots alone:
changes and the newest readings. How readings are got, exposed or shown belongs to other packages.
"""
