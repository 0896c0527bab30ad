"""The faults of a call: of its connection, of the HTTP status, and of the reply's content."""
