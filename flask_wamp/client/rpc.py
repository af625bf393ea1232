"""Procedures as attributes: ``client.rpc.com.example.add(1, 2)``."""

from __future__ import annotations

import typing as t


class RPCClient(t.Protocol):
    """The part of the client that :class:`RPC` uses."""

    def call(self, procedure: str, /, *args: object, **kwargs: object) -> t.Any:
        """Call a procedure and wait for its result."""


class RPC:
    """A procedure whose URI is written as attributes."""

    __slots__ = ("_client", "_uri")

    def __init__(self, client: RPCClient, uri: str = "") -> None:
        self._client = client
        self._uri = uri

    def __getattr__(self, name: str) -> RPC:
        if name.startswith("__"):  # copy, pickle and others look for these names
            raise AttributeError(name)
        return RPC(self._client, f"{self._uri}.{name}" if self._uri else name)

    def __call__(self, /, *args: object, **kwargs: object) -> t.Any:
        return self._client.call(self._uri, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<rpc {self._uri}>"
