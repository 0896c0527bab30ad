"""From what is known to who should hear of it: the alert table and what is made from it."""
