"""Machinery for a configuration, without knowledge of ours.

Here are the types of fields, secrets, the readers of YAML and of environment variables, and the
checks with their messages. A key or a section of this exporter's has no place here: those are in
`exporter.settings`, beside the sources and beside the alerts.
"""
