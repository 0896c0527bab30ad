"""State that outlives a process and that several processes share: an interface and its backends."""
