"""Simulated vendors with a fleet that changes by itself, for the demo, tests and benchmarks.

Each vendor has a package with its world and its replies. `world` and `vendor` have the common
parts, `server` serves the vendors, and `options` has the flags. The exporter's sources do not use
this package, and the simulated vendors do not use the sources: both sides communicate only over
HTTP. From the exporter the vendors use only the clock; `server` and `options` also use its
addresses, error types, check of tokens and defaults. The tokens and passwords here are invented
and give no access to anything, so they are plain strings.
"""
