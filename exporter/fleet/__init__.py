"""The model of the fleet, free of vendors' and metrics' names.

It has the kinds of targets, readings, the store of snapshots, and data derived from snapshots:
changes and the newest readings. Polling, exposition and pages belong to other packages.
"""
