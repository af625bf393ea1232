"""Soak and chaos: members of an app that call and publish, lines that fail, and what has to hold."""
