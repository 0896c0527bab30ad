"""Every setting: its sources, how layers are joined, where to correct a problem."""
