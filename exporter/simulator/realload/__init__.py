"""The simulated Real Load portal: its fleet, and its replies in a module per subject."""
