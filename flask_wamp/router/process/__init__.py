"""The embedded router as a process: sockets, timers and signals around the core, and how apps start it."""
