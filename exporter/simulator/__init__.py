"""Simulated vendors with a fleet that changes by itself, for the demo, tests and benchmarks.

A package per vendor holds its world and the replies about it; `world` and `vendor` hold the parts
that all share, `server` serves them, and `options` has their flags. The exporter's sources know
nothing of this package, and the vendors here nothing of the sources: both sides meet over HTTP
only, in the shapes of the vendors' replies. Of the exporter they take the clock; `server` and
`options` also its words for addresses, tokens and errors, and the defaults that the printed
configuration is made for. The tokens and passwords of the simulated worlds are invented and open
nothing, therefore they are plain strings.
"""
