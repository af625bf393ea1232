"""The app of ``browsed.py``, below the prefix ``/shop`` too."""

from __future__ import annotations

from browsed import app
from werkzeug.middleware.dispatcher import DispatcherMiddleware

app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/shop": app.wsgi_app})  # type: ignore[method-assign]
