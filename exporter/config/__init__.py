"""General tools for reading and checking a configuration.

This package has the types of fields, secrets, the readers of YAML and environment variables, and
checks with their messages. It knows none of the exporter's keys or sections: those are in
`exporter.settings` and in the packages that they configure.
"""
