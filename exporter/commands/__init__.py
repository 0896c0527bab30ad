"""The sub-commands, one module each, with `add_arguments` and `execute`.

`exporter.cli` lists them and imports the one in use. The other modules here hold code that
several commands share, such as reading the configuration, or parts of one large command.
"""
