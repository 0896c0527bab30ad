"""The providers, one package per vendor, and the modules they share.

`base` is the interface to the rest of the exporter. `settings` has the settings that all sources
have in common, `calls` makes their HTTP clients, `decode` reads replies, and `registry` lists all
providers.
"""
