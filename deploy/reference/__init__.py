"""Generator of the reference in the documentation, from the code, so that both agree."""
