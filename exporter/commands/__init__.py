"""The sub-commands, one module each, with `SUMMARY`, `add_arguments` and `execute`.

They are listed in `cli`. A module beside them holds what several commands, or one large one,
need: reading the configuration, writing to a terminal.
"""
