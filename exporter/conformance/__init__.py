"""The conformance suite: tests that every provider must pass before it watches a fleet.

A provider takes part with a `Candidate`, which has a simulated vendor. `front` is the server in
front of that vendor and injects faults, `faults` lists the faults, `trial` runs an engine with
candidates as its sources, and `suite` has the tests. The suite needs the extra `conformance`; the
daemon does not import this package.
"""
