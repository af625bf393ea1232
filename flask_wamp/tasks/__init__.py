"""Background tasks: after the answer, on a worker or in another process."""
