"""The sub-commands, one module each: its summary, its flags, what it does."""
