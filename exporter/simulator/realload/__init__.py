"""The simulated Real Load portal."""
