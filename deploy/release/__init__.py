"""Releases: the version in all files, the release notes, and the release commit.

This package needs only Python and git, since the release workflow runs it before any installation.
"""
