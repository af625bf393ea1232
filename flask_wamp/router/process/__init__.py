"""The process of the embedded router: sockets, timers and signals. Apps start the process from here."""
