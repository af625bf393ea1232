"""A page that runs the cases of ``tests/clientjs`` in a browser, against the app's own endpoint."""

from __future__ import annotations

import pathlib

from flask import Flask, send_from_directory

from flask_wamp import FlaskWAMP

CASES = pathlib.Path(__file__).parents[2] / "clientjs"
PAGE = """<!doctype html>
<title>Cases of client.js</title>
<script type="module">
  import "/cases/sockets.mjs";
  const { cases } = await import("/cases/cases.mjs");
  const client = await import("/wamp/client.js");
  const all = [];
  cases({ client, url: "/wamp", test: (name, f) => all.push([name, f]) });
  const outcome = {};
  for (const [name, f] of all) {
    try {
      await f();
      outcome[name] = "ok";
    } catch (error) {
      outcome[name] = `${error} ${error?.stack}`;
    }
  }
  window.outcome = outcome;
</script>
"""

app = Flask(__name__)
app.config.from_prefixed_env()
wamp = FlaskWAMP(app)
CASES_PREFIX = "com.example.js."
wamp.allow(
    "anonymous",
    call=CASES_PREFIX,
    register=CASES_PREFIX,
    publish=CASES_PREFIX,
    subscribe=CASES_PREFIX,
)


@app.get("/")
def index() -> str:
    return PAGE


@app.get("/cases/<name>")
def case(name: str):  # type: ignore[no-untyped-def]
    return send_from_directory(CASES, name, mimetype="text/javascript")
