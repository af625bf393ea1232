"""What the processes of one app agree on: leases, shared delivery, leaving one at a time."""
