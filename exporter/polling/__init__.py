"""Poll every source on its schedule and apply reloads."""
