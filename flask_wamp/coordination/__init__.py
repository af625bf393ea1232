"""Coordination of the processes of one app: leases, shared delivery, and leaving one at a time."""
