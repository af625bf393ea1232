"""Workers, queues and timers. They use threads, or greenlets if gevent has patched the process."""
