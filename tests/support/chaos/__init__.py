"""Soak and chaos: members of an app that call and publish, connections that fail, and invariants."""
