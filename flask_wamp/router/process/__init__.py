"""The embedded router's process: sockets, timers and signals for the core. Apps start it from here."""
