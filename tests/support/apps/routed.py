"""An app that serves nothing: ``flask wamp router`` runs the router of an app."""

from flask import Flask

from flask_wamp import FlaskWAMP

app = Flask(__name__)
FlaskWAMP(app)
