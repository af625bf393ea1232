"""Own types, bytes and the JSON provider: calls, results, errors and events in every serializer."""

from __future__ import annotations

import dataclasses
import decimal
import typing as t

import pytest
from flask import Flask, g
from flask.json.provider import DefaultJSONProvider, JSONProvider

from flask_wamp import ApplicationError, CallResult, FlaskWAMP, SerializationError
from flask_wamp.crossbar import DevRouter
from tests.support.peers import AutobahnPeer

pytestmark = pytest.mark.router

URI = "com.example.own"


class Colour:
    """A type without any conversion."""

    def __init__(self, name: str) -> None:
        self.name = name


class Shade(Colour):
    pass


@dataclasses.dataclass
class Money:
    """A dataclass for which the app has its own conversion."""

    amount: decimal.Decimal
    currency: str


class Provider(DefaultJSONProvider):
    @staticmethod
    def default(o: t.Any) -> t.Any:
        return f"colour {o.name}" if isinstance(o, Colour) else DefaultJSONProvider.default(o)


@pytest.fixture(params=["msgpack", "json", "cbor"])
def joined(
    request: pytest.FixtureRequest, join: t.Callable[..., t.Any], wamp_router: DevRouter
) -> tuple[Flask, FlaskWAMP]:
    return t.cast(
        "tuple[Flask, FlaskWAMP]",
        join(wamp_router.rawsocket_url, WAMP_SERIALIZERS=[request.param]),
    )


def test_the_json_provider_converts_types(app: Flask, wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    app.json = Provider(app)  # after init_app
    topic = peer.subscribe(f"{URI}.topic")
    peer.register(f"{URI}.echo")

    @wamp.callee(f"{URI}.result")
    def result() -> t.Any:
        return {"is": [Colour("red")]}

    @wamp.callee(f"{URI}.error")
    def error() -> None:
        raise ApplicationError("com.example.error.own", Colour("red"), x=Colour("blue"))

    with app.app_context():
        assert g.wampy.call(f"{URI}.echo", Colour("red")) == "colour red"
        assert g.wampy.submit(f"{URI}.echo", [Colour("red")]).result(10) == ["colour red"]
        g.wampy.publish(f"{URI}.topic", Colour("red"), x={"y": Colour("blue")})
    event = topic.next()
    assert (event.args, event.kwargs) == (["colour red"], {"x": {"y": "colour blue"}})
    assert peer.call(f"{URI}.result").value == {"is": ["colour red"]}
    raised = peer.error(f"{URI}.error")
    assert (raised.args, raised.kwargs) == (("colour red",), {"x": "colour blue"})


def test_encoders_come_first(app: Flask, wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    peer.register(f"{URI}.echo")

    @wamp.encoder(Colour)
    def encode_colour(colour: Colour) -> str:
        return colour.name

    @wamp.encoder(Money)
    def encode_money(money: Money) -> t.Any:
        return [money.amount, money.currency]

    @wamp.callee(f"{URI}.double")
    def double(price: Money) -> t.Any:
        return CallResult(Money(price.amount * 2, price.currency), colour=Shade("dark"))

    assert encode_money(Money(decimal.Decimal(1), "EUR"))  # the function is returned
    with app.app_context():
        assert g.wampy.call(f"{URI}.echo", Money(decimal.Decimal("1.5"), "EUR")) == ["1.5", "EUR"]
    result = peer.call(f"{URI}.double", {"amount": "1.50", "currency": "EUR"})
    assert (result.args, result.kwargs) == ([["3.00", "EUR"]], {"colour": "dark"})


def test_an_unknown_type_is_refused(app: Flask, wamp: FlaskWAMP) -> None:
    class Bare(JSONProvider):
        """Has no ``default``."""

    for provider in (app.json, Bare(app)):
        app.json = provider
        with pytest.raises(SerializationError, match="Colour"):
            wamp.client.call(f"{URI}.echo", Colour("red"))
    for kind in (str, dict, bytes, object, "Colour"):
        with pytest.raises(TypeError, match="requires a class"):
            wamp.encoder(kind)  # type: ignore[arg-type]


def test_an_encoder_that_goes_in_circles(wamp: FlaskWAMP) -> None:
    wamp.encoder(Colour)(lambda colour: colour)
    with pytest.raises(SerializationError, match="contains itself"):
        wamp.client.call(f"{URI}.echo", Colour("red"))


@pytest.mark.parametrize("value", [b"", b"\0\xff", b"x" * 100_000], ids=["none", "few", "many"])
def test_bytes_in_both_directions(wamp: FlaskWAMP, peer: AutobahnPeer, value: bytes) -> None:
    peer.register(f"{URI}.theirs")
    topic = peer.subscribe(f"{URI}.topic")
    received = []

    @wamp.callee(f"{URI}.ours")
    def ours(data: bytes, deep: dict[str, list[bytes]]) -> t.Any:
        received.append((data, deep))
        return {"data": [data]}

    assert wamp.client.call(f"{URI}.theirs", {"x": [value]}) == {"x": [value]}
    assert peer.call(f"{URI}.ours", value, deep={"x": [value]}).value == {"data": [value]}
    assert received == [(value, {"x": [value]})]
    wamp.client.publish(f"{URI}.topic", bytearray(value), memoryview(value))
    assert topic.next().args == [value, value]
