"""Polls: the engine that joins sources, store and exposition, one poll, and the schedule.

What a poll asks of a vendor belongs to `sources`. Going over to a new configuration while polling
goes on is here as well.
"""
