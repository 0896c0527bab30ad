"""The fleet as people see it: rows, filters, verdict; for the pages and the terminal."""
