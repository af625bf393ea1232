"""What the processes of one app agree on through the router: leases, shared delivery, leaving one at a time."""
