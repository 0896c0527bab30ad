"""Access control by the web configuration file: TLS, users, headers, rate limit."""
