"""All settings: their sections, the layers that give them, flags, old names and loading."""
