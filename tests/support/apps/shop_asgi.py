"""``shop.py`` for ASGI servers."""

from a2wsgi import WSGIMiddleware
from shop import app

asgi = WSGIMiddleware(app)
