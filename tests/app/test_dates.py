"""WAMP_DATES: one format of dates for HTTP and WAMP."""

from __future__ import annotations

import datetime as dt
import json
import typing as t

import pytest
from flask import Flask, jsonify
from flask.json.provider import DefaultJSONProvider, JSONProvider

from flask_wamp import FlaskWAMP
from tests.app.conftest import Serve
from tests.support.memory import MemoryRouter

DAY = dt.date(2026, 1, 1)
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone.utc)
HTTP = {"day": "Thu, 01 Jan 2026 00:00:00 GMT", "noon": "Thu, 01 Jan 2026 12:00:00 GMT"}
ISO = {"day": "2026-01-01", "noon": "2026-01-01T12:00:00+00:00"}

FORMATS: dict[t.Any, tuple[t.Any, t.Any]] = {
    # The setting, and the results over HTTP and WAMP.
    None: (HTTP, ISO),
    "iso": (ISO, ISO),
    "http": (HTTP, HTTP),
}


def views(app: Flask, wamp: FlaskWAMP) -> None:
    """Serve the same values over HTTP and WAMP: as data, as a response and as a stream."""
    data = {"day": DAY, "noon": NOON}

    @app.get("/data")
    @wamp.callee
    def data_() -> t.Any:
        return data

    @app.get("/response")
    @wamp.callee
    def response() -> t.Any:
        return jsonify(data)

    @app.get("/stream")
    @wamp.callee
    def stream() -> t.Iterator[t.Any]:
        yield data


@pytest.mark.parametrize(("name", "said"), FORMATS.items(), ids=map(str, FORMATS))
def test_both_sides(
    serve: Serve, router: MemoryRouter, name: str | None, said: tuple[t.Any, t.Any]
) -> None:
    app, wamp = serve(WAMP_DATES=name)
    views(app, wamp)
    http = app.test_client()
    over_http, over_wamp = said
    assert http.get("/data").json == over_http
    assert router.call("com.example.data_") == over_wamp
    # The view creates its response itself, over HTTP and WAMP.
    assert http.get("/response").json == router.call("com.example.response") == over_http


@pytest.mark.parametrize(("name", "said"), FORMATS.items(), ids=map(str, FORMATS))
def test_streams(
    serve: Serve, router: MemoryRouter, name: str | None, said: tuple[t.Any, t.Any]
) -> None:
    app, wamp = serve(WAMP_DATES=name)
    views(app, wamp)
    answer = router.invoke("com.example.stream")
    answer.result(10)
    assert [each.args for each in answer.progress] == [[said[1]]]
    assert json.loads(app.test_client().get("/stream").data) == said[1]


def test_encoders_of_the_app_count_in_streams_over_http(serve: Serve) -> None:
    class Money:
        pass

    def setup(wamp: FlaskWAMP) -> None:
        wamp.encoder(Money)(lambda value: "3 EUR")
        wamp.encoder(dt.date)(lambda value: value.year)

    app, wamp = serve(setup, WAMP_DATES="http")

    @app.get("/stream")
    @wamp.callee
    def stream() -> t.Iterator[t.Any]:
        yield [Money(), DAY]

    assert json.loads(app.test_client().get("/stream").data) == ["3 EUR", 2026]
    assert wamp.client.call("com.example.stream") == [["3 EUR", 2026]]


def test_a_json_provider_of_the_app_still_handles_other_types(
    make_app: t.Callable[..., Flask],
) -> None:
    class Provider(DefaultJSONProvider):
        @staticmethod
        def default(o: t.Any) -> t.Any:
            return "own" if isinstance(o, complex) else DefaultJSONProvider.default(o)

    app = make_app(WAMP_DATES="iso")
    app.json = Provider(app)
    FlaskWAMP(app)
    assert json.loads(app.json.dumps([1j, DAY, dt.time(12)])) == ["own", "2026-01-01", "12:00:00"]


def test_a_json_provider_that_cannot_be_configured(make_app: t.Callable[..., Flask]) -> None:
    class Provider(JSONProvider):
        def dumps(self, obj: t.Any, **kwargs: t.Any) -> str:
            return json.dumps(obj)

        def loads(self, s: str | bytes, **kwargs: t.Any) -> t.Any:
            return json.loads(s)

    app = make_app(WAMP_DATES="iso")
    app.json = Provider(app)
    with pytest.raises(ValueError, match="WAMP_DATES='iso' needs a JSON provider"):
        FlaskWAMP(app)


# Values that flask.jsonify accepts and WAMP does not: the log says what is wrong.


@pytest.mark.parametrize(
    ("value", "wrong"),
    [({1: "x"}, "the key 1 is not a string"), (2**70, "64 bits"), (float("nan"), "NaN")],
)
def test_a_type_that_only_json_supports_gets_a_clear_error(
    serve: Serve,
    router: MemoryRouter,
    caplog: pytest.LogCaptureFixture,
    value: t.Any,
    wrong: str,
) -> None:
    app, wamp = serve()
    app.add_url_rule("/f", "f", wamp.callee("com.example.f")(lambda: {"value": value}))
    assert app.test_client().get("/f").status_code == 200
    answer = router.invoke("com.example.f").result(10)
    assert answer.error == "wamp.error.runtime_error"
    assert wrong in answer.args[0]  # in debug mode
    assert wrong in caplog.text
