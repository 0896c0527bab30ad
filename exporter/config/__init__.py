"""Machinery without knowledge of our settings: types, secrets, YAML, environment, validation."""
