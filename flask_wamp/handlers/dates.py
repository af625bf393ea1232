"""One format of dates for HTTP and WAMP, if the app asks for it (``WAMP_DATES``).

By default a view that serves both sides answers in two formats: Flask's JSON provider writes dates in the
format of HTTP headers (RFC 822), and WAMP payloads have ISO 8601.
"""

from __future__ import annotations

import datetime as dt
import typing as t

from flask import Flask

Encode = t.Callable[[t.Any], t.Any]


def use_format(
    app: Flask, name: str | bool | None, encoders: dict[type, Encode], default: Encode
) -> None:
    """Use one format of dates for HTTP and WAMP.

    :param name: With ``iso``, HTTP uses ISO 8601 too. With ``http``, WAMP uses the format of the JSON
        provider. With None or False, neither changes.
    :param encoders: The app's encoders for WAMP. If the app has its own encoder for dates, it is kept.
    :param default: Encodes a value with the app's JSON provider.
    :raises ValueError: The JSON provider has no ``default`` to replace.
    """
    if name == "http":
        encoders.setdefault(dt.date, default)
    elif name == "iso":
        provider: t.Any = app.json
        others = getattr(provider, "default", None)
        if others is None:
            raise ValueError(
                f"WAMP_DATES='iso' needs a JSON provider with a method default, as "
                f"flask.json.provider.DefaultJSONProvider has; the app has {provider!r}"
            )

        def encode(value: t.Any) -> t.Any:
            return value.isoformat() if isinstance(value, dt.date | dt.time) else others(value)

        provider.default = encode
