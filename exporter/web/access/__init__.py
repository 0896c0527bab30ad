"""Who may connect: TLS, users, headers, rate limit."""
