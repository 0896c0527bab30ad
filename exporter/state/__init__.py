"""State that outlives the process or is shared: one small interface, and its backends."""
