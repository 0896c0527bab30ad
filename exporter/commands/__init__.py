"""The sub-commands, one module each, with `add_arguments` and `execute`.

They are listed in `cli`, which imports the one that is used. A module beside them holds what
several commands, or one large one, need: reading the configuration, writing to a terminal.
"""
