"""The vendors: one package each, and what they share.

`base` is the interface that the rest of the exporter sees, `settings` what every source can be
set, `calls` and `decode` what every package sends and reads with, `registry` the list of all.
"""
