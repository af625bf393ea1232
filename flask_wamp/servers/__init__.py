"""Processes: when a client starts and ends in each server, and ``flask wamp worker``."""
