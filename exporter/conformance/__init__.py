"""The conformance suite: what every provider has to bear before a fleet is trusted to it.

A provider joins with a `Candidate`, which has a simulated vendor. `front` plays the vendor's end of
the wire, `trial` an engine whose sources are candidates, `faults` holds all that can go wrong, and
`suite` the tests. They need the extra `conformance`; nothing of the daemon imports this package.
"""
