"""The simulated Real Load portal: its fleet, and the replies to each action, by subject."""
