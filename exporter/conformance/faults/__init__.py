"""Everything that can happen to a call: on the wire, in its status, in what a reply says."""
