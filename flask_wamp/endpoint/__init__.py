"""The endpoint: the routes of the app at which browsers join."""
