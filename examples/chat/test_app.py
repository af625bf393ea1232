"""Tests of the chat. They need no router: ``pytest test_app.py``."""

from contextlib import contextmanager

import pytest

from flask_wamp import ApplicationError

from .app import create_app
from .extensions import db, wamp

PASSWORD = "correct horse"
TOKENS = (f"token-{number:04}" for number in range(10_000))
GENERAL = 1


@pytest.fixture
def make_app(tmp_path):
    apps = []

    def make():
        app = create_app(
            TESTING=True,
            SECRET_KEY="test",
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/chat.db",
            WTF_CSRF_ENABLED=False,
        )
        apps.append(app)
        return app

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def app(make_app):
    app = make_app()
    yield app
    with app.app_context():
        wamp.stop()  # registering or logging in makes the app join


@pytest.fixture
def ann(app):
    return register(app, "Ann")


@pytest.fixture
def bob(app, ann):
    return register(app, "Bob")


@pytest.fixture
def eve(app, bob):
    return register(app, "Eve")


def register(app, name):
    """Return a browser that is logged in as a new user. The ids are 1, 2 and 3."""
    browser = app.test_client()
    answer = browser.post("/register", data={"name": name, "password": PASSWORD})
    assert answer.location == "/"
    return browser


@contextmanager
def page(browser):
    """A page, which joins with the cookies of a browser."""
    with browser.application.app_context():
        peer = wamp.test_client(authrole="anonymous")
    with peer:
        peer.login(browser)
        yield peer


def say(page, room, text):
    return page.call(".say", room, text, next(TOKENS))


def refused(error="not_authorized"):
    return pytest.raises(ApplicationError, match=error)


# Accounts.


def test_a_name_is_taken_once_and_a_password_is_needed(app, ann):
    other = app.test_client()
    again = other.post("/register", data={"name": "ann", "password": PASSWORD})
    assert "Somebody else has this name" in again.text
    short = other.post("/register", data={"name": "Bob", "password": "short"})
    assert "at least 8" in short.text
    wrong = other.post("/login", data={"name": "Ann", "password": "wrong horse"})
    assert "The name or the password is wrong" in wrong.text
    assert other.get("/").location.startswith("/login")
    assert other.post("/login", data={"name": "ANN ", "password": PASSWORD}).location == "/"
    assert "Ann" in other.get("/").text


def test_forms_need_a_token(app, ann):
    app.config.update(WTF_CSRF_ENABLED=True)
    for path in ("/logout", "/login", "/register"):
        answer = ann.post(path, data={"name": "Mallory", "password": PASSWORD})
        assert answer.location == "/login"
    assert "too old" in ann.get("/login").text
    assert "Ann" in ann.get("/").text


def test_logging_out_ends_the_pages_of_this_browser(app, ann):
    phone = app.test_client()
    phone.post("/login", data={"name": "Ann", "password": PASSWORD})
    with page(ann) as tab, page(phone) as other:
        ended = tab.session_id
        ann.post("/logout")
        with app.app_context():
            sessions = wamp.client.meta.sessions.list()
        assert ended not in sessions
        assert other.session_id in sessions


def test_a_copy_of_an_old_cookie_does_not_join(make_app, ann):
    copy = ann.get_cookie("session").value
    ann.post("/logout")
    thief = make_app().test_client()  # the application has been restarted
    thief.set_cookie("session", copy)
    assert "Ann" in thief.get("/").text  # cookies are like that
    with pytest.raises(RuntimeError, match="unknown"), page(thief):
        pass


# Rooms and messages.


def test_a_message_reaches_the_members_and_stays(ann, bob):
    with page(ann) as anns, page(bob) as bobs:
        heard = bobs.subscribe(f".room.{GENERAL}")
        said = say(anns, GENERAL, "  hello\nBob ")
        assert said["text"] == "hello\nBob"
        event = heard.get(timeout=1)
        assert (event.args, event.kwargs) == (["said"], {"message": said})
        assert bobs.call(".history", GENERAL) == [said]
        assert bobs.call(".start")["unread"] == {str(GENERAL): 1}
        bobs.call(".read", GENERAL, said["id"])
        assert bobs.call(".start")["unread"] == {}


def test_a_message_that_is_sent_twice_is_stored_once(ann):
    with page(ann) as anns:
        first = anns.call(".say", GENERAL, "hello", "one-token")
        assert anns.call(".say", GENERAL, "hello", "one-token") == first
        assert anns.call(".history", GENERAL) == [first]


def test_history_comes_in_pages(ann):
    with page(ann) as anns:
        for number in range(35):
            say(anns, GENERAL, f"{number}")
    with page(ann) as anns:
        for number in range(35, 70):
            say(anns, GENERAL, f"{number}")
        last = anns.call(".history", GENERAL)
        assert [message["text"] for message in last] == [str(n) for n in range(20, 70)]
        older = anns.call(".history", GENERAL, before=last[0]["id"])
        assert [message["text"] for message in older] == [str(n) for n in range(20)]


def test_a_private_message_is_for_one_person(ann, bob, eve):
    with page(ann) as anns, page(bob) as bobs, page(eve) as eves:
        inbox, hers = bobs.subscribe(".user.2.inbox"), eves.subscribe(".user.3.inbox")
        room = anns.call(".direct", 2)["id"]
        assert bobs.call(".direct", 1)["id"] == room
        said = say(anns, room, "only for you")
        assert inbox.get(timeout=1).kwargs == {"message": said}
        assert hers.all() == []
        for topic in (".user.2.inbox", f".room.{room}"):
            with refused():
                eves.subscribe(topic)
        for call in (("history", room), ("say", room, "hi", "some-token"), ("typing", room)):
            with refused("not_found"):
                eves.call(f".{call[0]}", *call[1:])
        with refused("bad_request"):
            anns.call(".room.invite", room, 3)
        assert room not in [each["id"] for each in eves.call(".start")["rooms"]]


def test_a_private_room_is_for_invited_users(ann, bob, eve):
    with page(ann) as anns, page(bob) as bobs, page(eve) as eves:
        room = anns.call(".room.create", "plans", private=True)["id"]
        topic = f".room.{room}"
        with refused():
            bobs.subscribe(topic)
        for name, *args in (("enter", room), ("invite", room, 2), ("leave", room)):
            with refused("not_found"):
                bobs.call(f".room.{name}", *args)
        anns.call(".room.invite", room, 2)
        heard = bobs.subscribe(topic)
        say(anns, room, "welcome")
        assert heard.get(timeout=1).kwargs["message"]["text"] == "welcome"
        with refused():
            eves.subscribe(topic)

        # A user who has left gets no events, subscribed or not.
        bobs.call(".room.leave", room)
        heard.clear()
        say(anns, room, "among us")
        anns.call(".typing", room)
        assert heard.all() == []


def test_a_public_room_is_for_all_users_who_enter(ann, bob):
    with page(ann) as anns, page(bob) as bobs:
        everyone = bobs.subscribe(".everyone")
        room = anns.call(".room.create", "lunch")
        assert everyone.get(timeout=1).kwargs == {"room": room}
        with refused("not_found"):
            say(bobs, room["id"], "soup?")
        assert bobs.call(".room.create", "Lunch")["members"] == [1, 2]
        say(bobs, room["id"], "soup?")


# Presence.


def test_users_who_are_online_are_shown(ann, bob):
    with page(ann) as anns:
        everyone = anns.subscribe(".everyone")
        assert anns.call(".start")["online"] == [1]
        with page(bob):
            assert everyone.get(timeout=1).kwargs == {"people": [1, 2]}
            with page(bob):
                pass
            assert {tuple(event.kwargs["people"]) for event in everyone.all()} == {(1, 2)}
        assert everyone.get(timeout=1).kwargs == {"people": [1]}


def test_typing_is_sent_and_not_stored(ann, bob):
    with page(ann) as anns, page(bob) as bobs:
        heard = bobs.subscribe(f".room.{GENERAL}")
        anns.call(".typing", GENERAL)
        event = heard.get(timeout=1)
        assert (event.args, event.kwargs) == (["typing"], {"room": GENERAL, "person": 1})
        assert bobs.call(".history", GENERAL) == []


# Requests that pages may not make.


def test_no_visitor_gets_anything_without_a_login(app, ann):
    with page(app.test_client()) as stranger:
        for name in ("start", "history", "say", "direct", "room.create"):
            with refused():
                stranger.call(f".{name}", 1)
        for topic in (".everyone", f".room.{GENERAL}", ".user.1.inbox"):
            with refused():
                stranger.subscribe(topic)


def test_pages_publish_nothing_and_see_no_patterns(ann, bob):
    with page(bob) as bobs:
        for topic in (".everyone", ".user.1.inbox", f".room.{GENERAL}"):
            with refused():
                bobs.publish(topic, "said", message={"text": "I am Ann"})
        for topic, match in (
            (".room.", "prefix"),
            (".room.1", "prefix"),
            (".user..inbox", "wildcard"),
        ):
            with refused():
                bobs.subscribe(topic, match=match)
        with refused():
            bobs.register(lambda *args: None, ".say")


NONSENSE = [
    (),
    (GENERAL,),
    (GENERAL, "", "some-token"),
    (GENERAL, " \n ", "some-token"),
    (GENERAL, "x" * 2001, "some-token"),
    (GENERAL, "a\0b", "some-token"),
    (GENERAL, {"text": "x"}, "some-token"),
    (GENERAL, "text", "short"),
    (GENERAL, "text", "some token"),
    ("general", "text", "some-token"),
    (-1, "text", "some-token"),
    (2**40, "text", "some-token"),
    (GENERAL, "text", "some-token", "more"),
]


def test_invalid_messages_are_errors_for_their_sender(ann):
    with page(ann) as anns:
        for arguments in NONSENSE:
            with refused("invalid_argument"):
                anns.call(".say", *arguments)
        for name in ("", " ", "\u200b", "a\nb", "x" * 41):
            with refused("invalid_argument"):
                anns.call(".room.create", name)
        assert anns.call(".history", GENERAL) == []
