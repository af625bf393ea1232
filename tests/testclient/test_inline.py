"""``wamp.test_client(inline=True)``: handlers run in the thread of the test."""

from __future__ import annotations

import itertools
import threading
import traceback
import typing as t

import pytest
from flask import Flask, g, has_request_context

from flask_wamp import ApplicationError, FlaskWAMP, TooSlow, background_tasks
from flask_wamp.handlers.validation import InvalidArgument
from tests.testclient.conftest import Shop


class Ran(t.NamedTuple):
    """The shop, and which threads have run its handlers."""

    app: Flask
    wamp: FlaskWAMP
    threads: list[threading.Thread]


@pytest.fixture
def ran(shop: Shop) -> Ran:
    app, wamp, threads = shop.app, shop.wamp, []

    @wamp.before_dispatch
    def note(message: object) -> None:
        threads.append(threading.current_thread())

    @wamp.callee(".outer")
    def outer(n: int) -> int:
        return t.cast(int, g.wampy.call(".inner", n)) + 1

    @wamp.callee(".inner")
    def inner(n: int) -> int:
        g.wampy.with_options(exclude_me=False).publish(".relay", str(n))
        return 10 * n

    @wamp.callee(".again", concurrency=1)
    def again(n: int) -> int:
        return n if n == 0 else t.cast(int, g.wampy.with_options(timeout=0.05).call(".again", 0))

    @wamp.subscriber(".broken")
    def broken(text: str) -> None:
        raise ZeroDivisionError(text)

    @app.post("/outer/<int:n>")
    def view(n: int) -> dict[str, int]:
        return {"sum": g.wampy.call(".outer", n)}

    @app.post("/fail")
    def fail() -> str:
        return t.cast(str, g.wampy.call(".fail"))

    @app.post("/publish/<topic>")
    def publish(topic: str) -> str:
        g.wampy.with_options(exclude_me=False).publish(f".{topic}", "tea")
        return ""

    return Ran(app, wamp, threads)


def test_nested_handlers_run_in_the_thread_of_the_test(ran: Ran) -> None:
    with ran.wamp.test_client(inline=True) as peer:
        inbox = peer.subscribe(".relayed")
        assert peer.call(".outer", 2) == 21
        assert len(ran.threads) == 3  # outer, inner, and the subscriber relay
        assert inbox.get(timeout=0).args == ["2"]
        assert ran.app.test_client().post("/outer/3").json == {"sum": 31}
        assert inbox.get(timeout=0).args == ["3"]
        assert len(ran.threads) == 6
        assert set(ran.threads) == {threading.current_thread()}


def test_no_thread_is_started(ran: Ran) -> None:
    before = set(threading.enumerate())
    with ran.wamp.test_client(inline=True) as peer:
        peer.call(".outer", 1)
        assert set(threading.enumerate()) == before


def test_all_methods_of_a_test_client(ran: Ran) -> None:
    http = ran.app.test_client()
    with ran.wamp.test_client(inline=True) as peer:
        assert peer.submit(".outer", 1).result(timeout=0) == 11
        assert list(peer.stream(".count", 3)) == [0, 1, 2]
        with peer.stub("com.bank.price", returns=3) as calls, ran.wamp.record() as seen:
            assert http.post("/buy/tea").json == {"price": 3}
        assert calls[0].args == ["tea"]
        assert seen.called[0].asked_by == "POST /buy/tea"
        peer.register(lambda item: item.upper(), "com.bank.price")
        assert http.post("/buy/tea").json == {"price": "TEA"}
        with ran.wamp.test_client(authid="ann", authrole="member") as ann:
            assert ann.call(".total") == 0
            votes = ann.subscribe(".votes")
            http.post("/vote/tea")
            assert [event.args for event in votes] == [[{"tea": 1}]]
            with pytest.raises(ApplicationError, match="not_authorized"):
                ann.call(".who")


def test_background_tasks_run_in_the_thread_of_the_test(ran: Ran) -> None:
    threads = []

    @ran.app.post("/later")
    def later() -> str:
        background_tasks.add(lambda: threads.append(threading.current_thread()))
        return ""

    with ran.wamp.test_client(inline=True) as peer:
        inbox = peer.subscribe(".done")
        peer.call(".later", "tea")
        assert inbox.get(timeout=0).args == ["tea"]
        ran.app.test_client().post("/later")
        ran.wamp.settle()
        assert threads == [threading.current_thread()]


def test_a_handler_has_an_app_context_of_its_own(ran: Ran) -> None:
    closed = []

    @ran.wamp.callee(".context")
    def context() -> list[bool]:
        found = [hasattr(g, "user"), has_request_context()]
        g.user = "bob"
        return found

    @ran.app.teardown_appcontext
    def close(error: BaseException | None) -> None:
        closed.append(g.get("user"))

    with ran.app.test_request_context():
        g.user = "ann"
        with ran.wamp.test_client(inline=True) as peer:
            assert peer.call(".context") == [False, False]
        assert g.user == "ann"
        assert "bob" in closed
        assert "ann" not in closed


def test_the_exception_of_a_handler_reaches_the_test(
    ran: Ran, caplog: pytest.LogCaptureFixture
) -> None:
    with ran.wamp.test_client(inline=True) as peer, ran.app.app_context():
        for fails in (lambda: peer.call(".fail"), lambda: g.wampy.call(".fail")):
            with pytest.raises(ApplicationError, match="no tea left") as caught:
                fails()
            cause = caught.value.__cause__
            assert isinstance(cause, ZeroDivisionError)
            assert traceback.extract_tb(cause.__traceback__)[-1].name == "fail"
        # A view that does not handle the error answers 502, and logs the handler's exception.
        assert ran.app.test_client().post("/fail").status_code == 502
        (logged,) = [record for record in caplog.records if record.name == "flask_wamp.http"]
        assert 'raise ZeroDivisionError("no tea left")' in str(logged.exc_text)
        ran.app.config["PROPAGATE_EXCEPTIONS"] = False
        with pytest.raises(ApplicationError) as caught:
            peer.call(".fail")
        assert caught.value.__cause__ is None


def test_the_exception_of_a_subscriber_reaches_the_test(ran: Ran) -> None:
    http = ran.app.test_client()
    with ran.wamp.test_client(inline=True) as peer:
        with pytest.raises(ZeroDivisionError, match="tea") as caught:
            peer.publish(".broken", "tea")
        assert traceback.extract_tb(caught.tb)[-1].name == "broken"
        assert http.post("/publish/broken").status_code == 200  # a publisher gets no error
        with pytest.raises(ZeroDivisionError):
            ran.wamp.settle()
        ran.wamp.settle()  # once
        ran.app.config["PROPAGATE_EXCEPTIONS"] = False
        peer.publish(".broken", "tea")
    ran.app.config["PROPAGATE_EXCEPTIONS"] = None
    with pytest.raises(ZeroDivisionError), ran.wamp.test_client(inline=True):
        http.post("/publish/broken")
    with pytest.raises(LookupError), ran.wamp.test_client(inline=True):
        http.post("/publish/broken")
        raise LookupError("what the test raises comes first")


def test_an_exception_that_ends_the_test_also_ends_it_in_a_handler(ran: Ran) -> None:
    @ran.wamp.callee(".interrupt")
    def interrupt() -> None:
        raise KeyboardInterrupt

    with ran.wamp.test_client(inline=True) as peer, pytest.raises(KeyboardInterrupt):
        peer.call(".interrupt")


def test_a_handler_that_waits_for_itself_gets_its_timeout(ran: Ran) -> None:
    with ran.wamp.test_client(inline=True) as peer:
        with pytest.raises(ApplicationError):
            peer.call(".again", 1)
        assert peer.call(".again", 0) == 0


def test_an_endless_stream_ends_as_too_slow(ran: Ran) -> None:
    closed = []

    @ran.wamp.callee(".endless")
    def endless() -> t.Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    with ran.wamp.test_client(inline=True) as peer, peer.stream(".endless") as stream:
        assert [next(stream), next(stream)] == [0, 1]
        assert closed
        with pytest.raises(TooSlow):
            list(stream)


def test_a_lost_session_is_joined_again_at_the_next_use(ran: Ran) -> None:
    with ran.wamp.test_client(inline=True) as peer:
        lost = peer.session_id
        ran.wamp.client.call("wamp.session.kill", lost)
        assert peer.call(".outer", 1) == 11
        assert peer.session_id not in (lost, None)


def test_other_threads_may_call_meanwhile(ran: Ran) -> None:
    results: list[int] = []
    with ran.wamp.test_client(inline=True) as peer:
        callers = [
            threading.Thread(target=lambda: results.append(peer.call(".outer", 1)))
            for _ in range(8)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(30)
    assert results == [11] * 8


def test_an_app_that_runs_in_threads_is_restarted(ran: Ran) -> None:
    with ran.app.app_context():
        assert g.wampy.call("com.shop.total") == 0
    assert set(ran.threads) != {threading.current_thread()}
    ran.threads.clear()
    with ran.wamp.test_client(inline=True) as peer:
        assert peer.call(".total") == 0
        assert set(ran.threads) == {threading.current_thread()}
    ran.threads.clear()
    with ran.wamp.test_client() as peer:
        assert peer.call(".total") == 0
        assert threading.current_thread() not in ran.threads
        with (
            pytest.raises(RuntimeError, match="first test client with inline=True"),
            ran.wamp.test_client(inline=True),
        ):
            pass


def test_another_router_is_refused() -> None:
    app = Flask("app")
    app.config.update(TESTING=True, WAMP_ROUTER_URL="ws://127.0.0.1:1/ws")
    with pytest.raises(RuntimeError, match="inline=True needs the router in memory"):
        FlaskWAMP(app).test_client(inline=True).__enter__()


def test_arguments_that_do_not_fit_a_subscriber_fail_the_test(ran: Ran) -> None:
    @ran.wamp.subscriber(".typed")
    def typed(count: int) -> None: ...

    with ran.wamp.test_client(inline=True) as peer:
        peer.publish(".typed", 3)
        with pytest.raises(InvalidArgument, match="count|valid integer"):
            peer.publish(".typed", "three")
