"""Background tasks, which run after the answer, on a worker or in another process."""
