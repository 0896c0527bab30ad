"""The suite's tests; `tests/conformance` runs them for the exporter's own providers."""
