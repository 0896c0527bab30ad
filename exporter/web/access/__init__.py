"""Access control as the web configuration file demands it: TLS, users, headers, rate limit."""
