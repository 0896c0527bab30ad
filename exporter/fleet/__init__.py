"""What is known of the fleet: readings, snapshots, changes, history."""
