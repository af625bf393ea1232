"""A team chat with Flask-Login, Flask-SQLAlchemy and Flask-WAMP. ``app.py`` has the factory."""
