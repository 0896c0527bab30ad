"""The exporter's settings: read from flags, environment and file into one checked object.

This package has the flags, the layers, the old names of settings, and the loading. Sections of
another package, such as those of the sources, are defined in that package.
"""
