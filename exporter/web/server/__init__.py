"""The server: sockets, connections and their limits, independent of the application."""
