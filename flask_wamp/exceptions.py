"""All exceptions of this library.

::

    WAMPError
    ├── ApplicationError       a peer or the router answered ERROR
    │   ├── CallCanceled       the call was canceled
    │   └── InvalidPayload     a peer sent a payload that cannot be decoded
    ├── CallTimeout            there was no answer in time
    ├── NotJoined              there is no session, nothing was sent
    ├── SessionLost            the session ended before the answer, the outcome is unknown
    ├── NotSupported           the router does not announce a feature, nothing was sent
    ├── TooSlow                a stream was read too slowly
    ├── SerializationError     the payload cannot be sent
    │   └── PayloadTooLarge    the message is over the limit
    ├── InvalidURI             the URI is not valid (also a ValueError)
    ├── ProtocolError          the router violated the WAMP protocol
    ├── TransportError         the router cannot be reached, or the connection broke
    ├── AuthenticationError    the client or the router could not be authenticated
    └── TaskAborted            a background task did not finish

If wampy is installed, ``WAMPError`` is a ``wampy.errors.WampyError``, and ``CallTimeout`` is a
``wampy.errors.WampyTimeOutError``.
"""

from __future__ import annotations

import typing as t

from ._text import MAX_TEXT, safe_repr, safe_text
from ._wampy import bases

if t.TYPE_CHECKING:

    class _WampyError(Exception): ...

    class _WampyTimeOutError(Exception): ...

else:
    _WampyError = bases.error
    _WampyTimeOutError = bases.timeout_error


class WAMPError(_WampyError):
    """The root of all errors of this library."""


class ApplicationError(WAMPError):
    """An ERROR message. A call raises it if the answer is ERROR, and a handler raises it to answer ERROR.

    The first argument is the error URI: ``ApplicationError("com.example.error.sold_out", "tea")``. The
    arguments of a subclass are only the payload. Its URI is the class attribute ``uri``. Without that, the
    URI is made from the name of the class: ``class SoldOut(ApplicationError)``, raised as ``SoldOut("tea")``,
    has the URI ``<prefix>.error.sold_out``.

    :param args: The error URI (not for subclasses), and then the positional payload.
    :param kwargs: The keyword payload.

    Source: WAMP Basic Profile, "ERROR".
    """

    uri: str | None = None
    """The error URI. None for a subclass whose URI is made from its name when it is sent."""

    kwargs: dict[str, t.Any]
    """The keyword payload."""

    exposed: bool = True
    """Whether a handler that does not catch it answers with its payload. The errors of other peers are not
    exposed, because their payload may be meant for this app only. See :meth:`expose`."""

    def __new__(cls, /, *args: t.Any, **kwargs: t.Any) -> ApplicationError:
        # Set here for subclasses whose __init__ does not call that of this class.
        self = super().__new__(cls, *args)
        self.kwargs = {}
        return self

    def __init__(self, /, *args: t.Any, **kwargs: t.Any) -> None:
        if type(self) is ApplicationError:
            if not args or not isinstance(args[0], str):
                raise TypeError("ApplicationError needs an error URI as its first argument")
            self.uri, args = args[0], args[1:]
        super().__init__(*args)
        self.kwargs = kwargs

    def expose(self) -> ApplicationError:
        """Send the payload of this error to the caller of the handler, although it came from another peer.

        ::

            try:
                return g.wampy.call("com.bank.withdraw", amount)
            except ApplicationError as error:
                raise error.expose()

        Without this, the caller gets only the URI, unless ``app.debug`` or ``app.testing`` is set.

        :returns: The error itself.

        .. versionadded:: 0.1
        """
        self.exposed = True
        return self

    def __reduce__(self) -> tuple[t.Any, ...]:
        args = (self.uri, *self.args) if type(self) is ApplicationError else self.args
        return _rebuild, (type(self), args, self.kwargs)

    def __repr__(self) -> str:
        uri = (self.uri,) if type(self) is ApplicationError else ()
        keywords = (f"{safe_text(key)}={safe_repr(value)}" for key, value in self.kwargs.items())
        details = ", ".join([*map(safe_repr, (*uri, *self.args)), *keywords])
        return f"{type(self).__name__}({safe_text(details, 4 * MAX_TEXT)})"

    def __str__(self) -> str:
        keywords = (f"{safe_text(key)}={safe_repr(value)}" for key, value in self.kwargs.items())
        details = safe_text(", ".join([*map(safe_repr, self.args), *keywords]), 4 * MAX_TEXT)
        name = safe_text(self.uri or type(self).__name__)
        return f"{name}: {details}" if details else name


def _rebuild(
    cls: type[ApplicationError], args: tuple[t.Any, ...], kwargs: dict[str, t.Any]
) -> ApplicationError:
    """Unpickle an error. The default of ``Exception`` would lose the keyword arguments."""
    return cls(*args, **kwargs)


class CallTimeout(WAMPError, _WampyTimeOutError):
    """There was no answer in time. A call was canceled if possible, but its procedure may have run.

    :param procedure: The URI of the procedure that was called, or of the topic.
    :param timeout: How many seconds the caller waited. 0 if a call was not sent, because no time was left.
    """

    def __init__(self, procedure: str, timeout: float) -> None:
        super().__init__(procedure, timeout)
        self.procedure = procedure
        self.timeout = timeout

    def __str__(self) -> str:
        return f"{self.procedure} did not answer within {self.timeout:g} s"


class CallCanceled(ApplicationError):
    """The call was canceled, or its callee left before the answer. The procedure may have run."""

    uri = "wamp.error.canceled"


class InvalidPayload(ApplicationError):
    """A payload from another peer cannot be decoded.

    A call with such arguments is answered with this error, and an event with such a payload is dropped. The
    handler does not run. If the result of a call has such a payload, the call raises this error.
    """

    uri = "wamp.error.invalid_argument"


class NotJoined(WAMPError):
    """There is no session with the router, so nothing was sent.

    :param reason: The URI with which the router refused to let this client join, if it did.
    """

    def __init__(self, text: str = "", reason: str | None = None) -> None:
        super().__init__(text)
        self.reason = reason


class NotSupported(WAMPError):
    """The router does not announce a required feature, so nothing was sent.

    :param feature: The feature's name in the specification.
    :param what: The option that requires it.
    """

    def __init__(self, feature: str, what: str) -> None:
        super().__init__(feature, what)
        self.feature = feature
        self.what = what

    def __str__(self) -> str:
        return f"{self.what} requires the feature {self.feature!r}, which this router does not announce"


class SessionLost(WAMPError):
    """The session ended before the answer. The router may have carried out the request."""


class TooSlow(WAMPError):
    """A stream was read too slowly, so it was closed. If it was a call, it was canceled.

    :param procedure: The URI that was called, or the topic.
    :param waiting: How many results or events were waiting to be read.
    """

    def __init__(self, procedure: str, waiting: int) -> None:
        super().__init__(procedure, waiting)
        self.procedure = procedure
        self.waiting = waiting

    def __str__(self) -> str:
        return (
            f"{self.procedure} was read too slowly: {self.waiting} items were waiting "
            "(WAMP_EVENT_QUEUE, WAMP_MAX_MESSAGE_SIZE)"
        )


class SerializationError(WAMPError):
    """The payload cannot be sent, because no serializer supports it or the router would end the session."""


class PayloadTooLarge(SerializationError):
    """The message exceeds ``WAMP_MAX_MESSAGE_SIZE``, or the router's limit."""


class InvalidURI(WAMPError, ValueError):
    """The URI is not valid. A router would end the session if it were sent.

    :param uri: The invalid value.
    :param what: ``procedure``, ``topic`` or ``error URI``.
    """

    def __init__(self, uri: object, what: str) -> None:
        super().__init__(uri, what)
        self.uri = uri
        self.what = what

    def __str__(self) -> str:
        return (
            f"{safe_repr(self.uri)} is not a valid {self.what}. It must consist of parts joined by dots, "
            "such as 'com.example.add'. Parts must not be empty, or contain spaces or '#'"
        )


class ProtocolError(WAMPError):
    """The router violated the WAMP protocol, or the protocol of the transport."""


class TransportError(WAMPError):
    """The router cannot be reached, or the connection to it is broken."""


class AuthenticationError(WAMPError):
    """The client or the router could not be authenticated.

    The configured credentials cannot answer the router's challenge, the router cannot prove that it knows the
    secret, or the HTTP bridge refused the key.
    """


class TaskAborted(WAMPError):
    """A background task did not finish, because its process died or there was no time left."""
