"""The fleet as it is known: kinds of targets, readings, snapshots in a store, changes, history."""
