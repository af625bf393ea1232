"""Results of a test client's calls whose errors show what the handler has raised."""

from __future__ import annotations

import concurrent.futures
import typing as t

from ..client.result_stream import ResultStream

if t.TYPE_CHECKING:
    from typing_extensions import Self

Explain = t.Callable[[BaseException], None]
"""Adds the cause to an error."""


class TestFuture(concurrent.futures.Future[t.Any]):
    """The future of a call. ``cancel()`` cancels the call."""

    __test__ = False

    def __init__(self, call: concurrent.futures.Future[t.Any], explain: Explain) -> None:
        super().__init__()
        self._call = call
        self._explain = explain
        call.add_done_callback(self._done)

    def cancel(self) -> bool:
        """Cancel the call, unless it is over."""
        return self._call.cancel() and super().cancel()

    def _done(self, call: concurrent.futures.Future[t.Any]) -> None:
        if call.cancelled():
            super().cancel()
            return
        if not self.set_running_or_notify_cancel():
            return
        error = call.exception()
        if error is None:
            self.set_result(call.result())
        else:
            self._explain(error)
            self.set_exception(error)


class TestStream:
    """The progressive results of a call. ``close()``, and the end of a ``with`` block, cancel it."""

    __test__ = False

    def __init__(self, stream: ResultStream, explain: Explain) -> None:
        self._stream = stream
        self._explain = explain

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> t.Any:
        try:
            return next(self._stream)
        except StopIteration:
            raise
        except Exception as error:
            self._explain(error)
            raise

    def close(self) -> None:
        """Cancel the call, unless it is over."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
