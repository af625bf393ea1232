"""Crossbar.io with the app as its authorizer: the configuration of ``flask-dynamic-auth.config.json``."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from flask_wamp.crossbar import free_port

CONFIG = Path(__file__).with_name("flask-dynamic-auth.config.json")

#: The names of the app's procedures in the file.
AUTHENTICATOR, AUTHORIZER = "flask.auth.ticket", "flask.auth.authorize"


class AskingNode:
    """The node's configuration, for the node, the app and its browsers.

    :param socket: The unix socket that the app joins.
    :param roles: The roles that the app decides about, instead of ``browser``.
    """

    def __init__(self, socket: Path, roles: t.Sequence[str] = ()) -> None:
        self.config: dict[str, t.Any] = json.loads(CONFIG.read_text())
        self.app_url = f"unix://{socket}"
        self.browsers_url = f"ws://127.0.0.1:{free_port()}"
        (worker,) = self.config["workers"]
        self._realm = worker["realms"][0]
        app, browsers = worker["transports"]
        app["endpoint"]["path"] = str(socket)
        browsers["endpoint"]["port"] = int(self.browsers_url.rpartition(":")[2])
        self.auth: dict[str, t.Any] = browsers["auth"]
        self.origins: list[str] = browsers["options"]["allowed_origins"]
        for method in ("wampcra", "cryptosign") if roles else ():
            self.auth[method] = self.auth["ticket"]
        if roles:
            browsers["options"]["allow_null_origin"] = False
            self._realm["roles"][1:] = [{"name": role, "authorizer": AUTHORIZER} for role in roles]

    @property
    def environ(self) -> dict[str, str]:
        """The app's configuration, as environment variables."""
        return {
            "FLASK_WAMP_ROUTER_URL": self.app_url,
            "FLASK_WAMP_ROUTER_LISTEN": json.dumps([self.browsers_url]),
            "FLASK_WAMP_AUTHID": "flask",
            "FLASK_WAMP_TICKET": "backend-secret",
            "FLASK_WAMP_AUTHENTICATOR_URI": AUTHENTICATOR,
            "FLASK_WAMP_AUTHORIZER_URI": AUTHORIZER,
        }
