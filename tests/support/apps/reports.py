"""A Celery app beside a Flask app: ``celery -A reports:celery worker``."""

from __future__ import annotations

import os
import typing as t

from celery import Celery
from flask import Flask, g

from flask_wamp import FlaskWAMP

app = Flask(__name__)
app.config.update(WAMP_ROUTER_URL=os.environ["SHOP_ROUTER_URL"], WAMP_URI_PREFIX="com.reports")
wamp = FlaskWAMP(app)


@wamp.callee
def served() -> None:
    """A procedure that a Celery worker must not serve."""


folder = os.environ["REPORTS_FOLDER"]
celery = Celery("reports", broker="filesystem://")
celery.conf.update(
    broker_transport_options={
        "data_folder_in": f"{folder}/queue",
        "data_folder_out": f"{folder}/queue",
        "control_folder": f"{folder}/control",
    },
    broker_connection_retry_on_startup=True,
)


@celery.task
def report(number: int) -> dict[str, t.Any]:
    """Call and publish, as a handler would."""
    with app.app_context():
        g.wampy.with_options(acknowledge=True).publish("com.reports.reported", number)
        return {"pid": os.getpid(), "called": g.wampy.call("com.example.seen", number)}
