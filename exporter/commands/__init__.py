"""The sub-commands of `loadfleet-exporter`, a module each, and what several of them share.

A command has a summary, declares its flags, and returns an exit code. It holds no logic that the
daemon needs as well; what it prints is for people, or for the shell.
"""
