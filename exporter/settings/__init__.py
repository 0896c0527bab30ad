"""Every setting, assembled: from flags, environment and file to one checked object.

Here are the flags, the joining of the layers, the names that settings had before, and loading.
Sections that belong to another package, such as those of the sources, stand there.
"""
