"""An app without handlers, for commands that need an app."""

from __future__ import annotations

from flask import Flask

app = Flask(__name__)
