"""Releases: their version in every file that repeats it, their notes, and the commit of one.

It needs Python and git alone: the release workflow asks it before anything is installed.
"""
