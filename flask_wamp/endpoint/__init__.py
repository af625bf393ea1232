"""The endpoint: routes of the app through which browsers join."""
