"""The endpoint: the routes of the app where browsers join."""
