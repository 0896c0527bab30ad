"""Real Load: the portal and what it knows of agents, controllers, recorders and suites."""
