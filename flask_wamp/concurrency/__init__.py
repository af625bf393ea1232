"""Threads, or greenlets where gevent has patched: workers, queues, timers."""
