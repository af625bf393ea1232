"""The embedded router."""
