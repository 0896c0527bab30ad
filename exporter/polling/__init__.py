"""Polls: the engine that joins sources, store and exposition; single polls; schedule; reload.

The package `sources` has the calls to the vendors.
"""
