"""One process's session with the router: connection, heartbeat, reconnecting, and what is served on it."""
