"""The tests of the suite; `tests/conformance` runs them for the exporter's own providers."""
