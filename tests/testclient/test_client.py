"""``wamp.test_client()``, as a user would use it."""

from __future__ import annotations

import threading
import traceback

import pytest
from flask import Flask, g

from flask_wamp import ApplicationError, CallTimeout, FlaskWAMP
from tests.testclient.conftest import Shop


def test_an_event_of_a_view_arrives(shop: Shop) -> None:
    with shop.wamp.test_client() as peer:
        inbox = peer.subscribe("com.shop.votes")
        shop.app.test_client().post("/vote/tea")
        assert inbox.get(timeout=0).args == [{"tea": 1}]
        shop.app.test_client().post("/vote/tea")
        (event,) = inbox.all()
        assert (event.topic, event.args, event.kwargs) == ("com.shop.votes", [{"tea": 2}], {})
        assert inbox.all() == []


def test_calls(shop: Shop) -> None:
    with shop.wamp.test_client() as peer:
        assert peer.call(".total") == 0
        assert peer.submit("com.shop.total").result(1) == 0
        assert list(peer.stream("com.shop.count", 3)) == [0, 1, 2]
        assert peer.with_options(timeout=1).call(".total") == 0


def test_an_inbox_counts_and_iterates_and_clears(shop: Shop) -> None:
    http = shop.app.test_client()
    with shop.wamp.test_client() as peer:
        inbox = peer.subscribe("com.shop", match="prefix")
        http.post("/vote/tea")
        http.post("/vote/jam")
        assert len(inbox) == 2
        assert [event.topic for event in inbox] == ["com.shop.votes"] * 2
        http.post("/vote/jam")
        inbox.clear()
        assert len(inbox) == 0


def test_the_events_of_a_subscriber_arrive_before_settle_returns(shop: Shop) -> None:
    with shop.wamp.test_client() as peer:
        inbox = peer.subscribe(".relayed")
        for number in range(20):
            peer.publish(".relay", str(number))
        shop.wamp.settle()
        assert [event.args for event in inbox.all()] == [[str(number)] for number in range(20)]


def test_background_tasks_end_before_settle_returns(shop: Shop) -> None:
    with shop.wamp.test_client() as peer:
        inbox = peer.subscribe(".done")
        peer.call(".later", "tea")
        assert [event.args for event in inbox] == [["tea"]]


def test_the_error_of_settle_names_what_is_still_running(shop: Shop) -> None:
    began, end = threading.Event(), threading.Event()

    @shop.wamp.callee(".wait")
    def wait() -> None:
        began.set()
        end.wait(10)

    with shop.wamp.test_client() as peer:
        future = peer.submit(".wait")
        assert began.wait(10)
        with pytest.raises(
            AssertionError, match=r"did not settle within 0\.05 s: shop: 1 handlers"
        ):
            shop.wamp.settle(0.05)
        end.set()
        future.result(10)
        shop.wamp.settle(10)


def test_an_empty_inbox_says_what_was_published(shop: Shop) -> None:
    with shop.wamp.test_client() as peer:
        inbox, other = peer.subscribe("com.shop.vote"), peer.subscribe("com.shop.votes")
        shop.app.test_client().post("/vote/tea")
        with pytest.raises(AssertionError) as caught:
            inbox.get(timeout=0)
        assert "no event of com.shop.vote arrived within 0 s" in str(caught.value)
        assert "com.shop.votes({'tea': 1}) by POST /vote/tea" in str(caught.value)
        assert "did you mean com.shop.votes?" in str(caught.value)
        assert "The inbox of com.shop.votes has" in str(caught.value)
        assert other.get().args == [{"tea": 1}]


def test_an_empty_inbox_says_who_has_subscribed_to_a_similar_topic(shop: Shop) -> None:
    with shop.wamp.test_client() as peer:
        inbox = peer.subscribe(".relayed")
        peer.publish(".relays", "tea")
        with pytest.raises(AssertionError) as caught:
            inbox.get(timeout=0)
        assert (
            "This test client has published to com.shop.relays, without subscribers; did you mean "
            "com.shop.relay"
        ) in str(caught.value)


def test_an_empty_inbox_says_who_has_published_to_the_others(shop: Shop) -> None:
    shop.wamp.allow("user", publish=".news")
    with shop.wamp.test_client() as peer, shop.wamp.test_client(authid="ann") as ann:
        other, inbox = peer.subscribe(".news"), peer.subscribe(".new")
        ann.with_options(disclose_me=True).publish(".news", "tea", hot=True)
        with pytest.raises(
            AssertionError, match=r"com\.shop\.news has .*\('tea', hot=True\) by ann"
        ):
            inbox.get(timeout=0.05)
        assert len(other) == 1


def test_a_call_without_an_answer_says_what_is_running(shop: Shop) -> None:
    end = threading.Event()

    @shop.wamp.callee(".wait")
    def wait() -> None:
        g.wampy.call("com.bank.price", "tea")
        end.wait(30)

    with shop.wamp.test_client() as peer, peer.stub("com.bank.price", returns=1):
        with pytest.raises(CallTimeout) as caught:
            peer.with_options(timeout=0.2).call(".wait")
        end.set()
        text = str(caught.value)
        assert "com.shop.wait did not answer within 0.2 s. Still running: com.shop.wait in " in text
        assert "The app has called: com.bank.price('tea') by com.shop.wait." in text


def test_the_error_of_a_stub_that_was_not_called_lists_other_calls(shop: Shop) -> None:
    with shop.wamp.test_client() as peer, peer.stub("com.bank.prices") as calls:
        shop.app.test_client().post("/buy/tea")
        with pytest.raises(IndexError) as caught:
            calls[0]
        assert str(caught.value) == (
            "com.bank.prices was called 0 times: there is no call 0. The app has also called: "
            "com.bank.price('tea') by POST /buy/tea; did you mean com.bank.price?"
        )


def test_an_inbox_says_that_a_publisher_does_not_receive_its_own_events(shop: Shop) -> None:
    with shop.wamp.test_client() as peer:
        inbox = peer.subscribe(".news")
        peer.publish(".news")
        with pytest.raises(AssertionError, match=r"exclude_me=False"):
            inbox.get(timeout=0)
        peer.with_options(exclude_me=False).publish(".news", 1)
        assert inbox.get().args == [1]


def test_the_error_of_an_unknown_procedure_suggests_similar_names(shop: Shop) -> None:
    with shop.wamp.test_client() as peer:
        with pytest.raises(ApplicationError) as caught:
            peer.call("com.shop.totals")
        assert "com.shop.totals is not registered; did you mean com.shop.total?" in str(
            caught.value
        )
        with pytest.raises(
            ApplicationError, match=r"com\.x is not registered; there are: com\.shop"
        ):
            peer.call("com.x")


def test_the_error_of_an_unknown_procedure_if_the_app_has_none() -> None:
    app = Flask("nothing")
    app.config["TESTING"] = True
    with FlaskWAMP(app).test_client() as peer:
        with pytest.raises(ApplicationError) as caught:
            peer.call("com.x")
        assert "com.x is not registered, nor is any other procedure" in str(caught.value)


def test_the_exception_of_a_handler_reaches_the_test(shop: Shop) -> None:
    with shop.wamp.test_client() as peer:
        with pytest.raises(ApplicationError, match="no tea left") as caught:
            peer.call(".fail")
        cause = caught.value.__cause__
        assert isinstance(cause, ZeroDivisionError)
        assert traceback.extract_tb(cause.__traceback__)[-1].name == "fail"
        shop.app.config["PROPAGATE_EXCEPTIONS"] = False
        with pytest.raises(ApplicationError) as caught:
            peer.call(".fail")
        assert caught.value.__cause__ is None


def test_errors_of_submitted_calls_and_streams_have_their_cause_too(shop: Shop) -> None:
    with shop.wamp.test_client() as peer:
        future = peer.submit(".fail")
        error = future.exception(10)
        assert error is not None and isinstance(error.__cause__, ZeroDivisionError)
        with peer.stream(".fail") as stream, pytest.raises(ApplicationError) as caught:
            next(stream)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        with pytest.raises(ApplicationError, match="did you mean com.shop.total"):
            peer.submit(".totals").result(10)


def test_a_submitted_call_can_be_canceled(shop: Shop) -> None:
    began, end = threading.Event(), threading.Event()

    @shop.wamp.callee(".wait")
    def wait() -> None:
        began.set()
        end.wait(10)

    with shop.wamp.test_client() as peer:
        future = peer.submit(".wait")
        assert began.wait(10)
        assert future.cancel() and future.cancelled()
        end.set()


def test_an_empty_inbox_says_which_subscribers_have_failed(shop: Shop) -> None:
    @shop.wamp.subscriber(".news")
    def on_news(text: str) -> None:
        raise ZeroDivisionError(text)

    with shop.wamp.test_client() as peer:
        inbox = peer.subscribe(".relayed")
        peer.publish(".news", "no tea left")
        shop.wamp.settle()
        with pytest.raises(
            AssertionError, match=r"com\.shop\.news: ZeroDivisionError\('no tea left'\)"
        ):
            inbox.get(timeout=0)


def test_a_test_client_with_an_identity_has_only_its_rights(shop: Shop) -> None:
    with shop.wamp.test_client(authid="ann", authrole="member") as peer:
        assert peer.call(".total") == 0
        for forbidden in (
            lambda: peer.call(".who"),
            lambda: peer.publish(".votes", 1),
            lambda: peer.subscribe(".done"),
            lambda: peer.register(print, ".mine"),
        ):
            with pytest.raises(ApplicationError, match="not_authorized.*wamp.allow"):
                forbidden()
        inbox = peer.subscribe(".votes")
        shop.app.test_client().post("/vote/tea")
        assert inbox.get().args == [{"tea": 1}]


def test_a_role_without_a_right(shop: Shop) -> None:
    with (
        shop.wamp.test_client(authid="ann") as peer,
        pytest.raises(ApplicationError, match="'user' may not call"),
    ):
        peer.call(".total")


@pytest.mark.parametrize("identity", [{}, {"authid": "ann", "authrole": "member"}])
def test_a_stub_serves_a_procedure_of_another_service(shop: Shop, identity: dict[str, str]) -> None:
    http = shop.app.test_client()
    with shop.wamp.test_client(**identity) as peer:
        with peer.stub("com.bank.price", returns=3) as calls:
            assert http.post("/buy/tea").json == {"price": 3}
            assert calls[0].args == ["tea"]
            with pytest.raises(IndexError, match="was called 1 times: there is no call 1"):
                calls[1]
        with peer.stub("com.bank.price", lambda item: len(item)):
            assert http.post("/buy/jam").json == {"price": 3}
        with peer.stub("com.bank.price", raises=ApplicationError("com.bank.error.closed")):
            assert http.post("/buy/jam").status_code == 502
        assert len(calls) == 1  # it was unregistered
        with pytest.raises(ApplicationError, match="no_such_procedure|not_authorized"):
            peer.call("com.bank.price", "jam")


def test_a_procedure_of_the_app_cannot_be_stubbed(shop: Shop) -> None:
    with (
        shop.wamp.test_client() as peer,
        pytest.raises(RuntimeError, match="cannot be stubbed: the app or a test client"),
        peer.stub("com.shop.total"),
    ):
        pass


def test_a_registered_function(shop: Shop) -> None:
    with shop.wamp.test_client() as peer:
        peer.register(lambda item: item.upper(), "com.bank.price")
        assert shop.app.test_client().post("/buy/tea").json == {"price": "TEA"}


def test_calls_and_publications_of_the_app_are_recorded(shop: Shop) -> None:
    http = shop.app.test_client()
    with shop.wamp.test_client() as peer, peer.stub("com.bank.price", returns=1):
        http.post("/vote/jam")
        with shop.wamp.record() as seen:
            http.post("/vote/tea")
            http.post("/buy/tea")
            peer.publish(".relay", "x")
            shop.wamp.settle()
        http.post("/vote/jam")
        assert [(r.uri, r.args, r.asked_by) for r in seen.published] == [
            ("com.shop.votes", [{"jam": 1, "tea": 1}], "POST /vote/tea"),
            ("com.shop.relayed", ["x"], "com.shop.relay"),
        ]
        assert [(r.uri, r.args, r.asked_by) for r in seen.called] == [
            ("com.bank.price", ["tea"], "POST /buy/tea")
        ]
    with pytest.raises(RuntimeError, match="inside"):
        shop.wamp.record()


def test_the_app_stops_with_the_last_test_client_and_can_start_again(shop: Shop) -> None:
    threads = set(threading.enumerate())
    for _ in range(2):
        with shop.wamp.test_client() as ann:
            with shop.wamp.test_client() as bob:
                assert bob.session_id != ann.session_id
            assert ann.call(".total") == 0
        assert not shop.wamp.health()["joined"]
    assert {thread for thread in threading.enumerate() if thread not in threads} == set()


def test_an_app_that_was_started_before_keeps_running(shop: Shop) -> None:
    with shop.app.app_context():
        assert g.wampy.call("com.shop.total") == 0
    with shop.wamp.test_client() as peer:
        assert peer.call(".total") == 0
    assert shop.wamp.health()["joined"]
    shop.wamp.stop()


def test_two_apps_share_nothing() -> None:
    wamp, apps = FlaskWAMP(), [Flask("one"), Flask("two")]
    for app in apps:
        app.config["TESTING"] = True
        wamp.init_app(app)
    with apps[0].app_context(), wamp.test_client() as one:
        inbox = one.subscribe("com.news")
        with apps[1].app_context(), wamp.test_client() as two:
            two.publish("com.news")
        assert inbox.all() == []


def test_an_app_that_is_not_being_tested_is_refused() -> None:
    wamp = FlaskWAMP(Flask("app"))
    with pytest.raises(RuntimeError, match="TESTING=True"), wamp.test_client():
        pass


def test_a_test_client_is_used_in_a_with_block(shop: Shop) -> None:
    peer = shop.wamp.test_client()
    with peer:
        pass
    for each in (peer, shop.wamp.test_client()):
        for use in (
            lambda: each.call(".total"),  # noqa: B023
            lambda: each.submit(".total"),  # noqa: B023
            lambda: each.stream(".total"),  # noqa: B023
            lambda: each.publish(".news"),  # noqa: B023
            lambda: each.subscribe(".news"),  # noqa: B023
            lambda: each.register(print, ".mine"),  # noqa: B023
            lambda: each.stub(".mine").__enter__(),  # noqa: B023
            lambda: each.login(shop.app.test_client()),  # noqa: B023
        ):
            with pytest.raises(RuntimeError, match="inside 'with wamp.test_client"):
                use()
