"""The server: sockets, connections and their limits; knows nothing of what is served."""
