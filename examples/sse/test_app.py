"""Tests of the wall of notes. They need no router: ``pytest test_app.py``."""

import json

import pytest
from app import TOPIC, app, wamp


@pytest.fixture(autouse=True)
def testing():
    app.config.update(TESTING=True)


def notes_on(page):
    """Read the notes among the Server-Sent Events of a response."""
    for chunk in page.iter_encoded():
        for line in chunk.decode().splitlines():
            if line.startswith("data: "):
                yield json.loads(line[6:])


def test_a_note_is_published_and_shown():
    http = app.test_client()
    with wamp.test_client() as peer:
        notes = peer.subscribe(TOPIC)
        with http.get("/events", buffered=False) as page:
            note = http.post("/notes", data={"who": " Ada ", "text": "hello"}).json
            assert (note["who"], note["text"]) == ("Ada", "hello")
            assert notes.get(timeout=5).args == [note]
            assert note in notes_on(page)


def test_a_page_that_opens_later_shows_the_last_note():
    http = app.test_client()
    with wamp.test_client():
        note = http.post("/notes", data={"text": "hello"}).json
        assert note["who"] == "somebody"
        with http.get("/events", buffered=False) as page:
            assert next(notes_on(page)) == note


def test_notes_of_other_programs_are_shown():
    with wamp.test_client() as peer, app.test_client().get("/events", buffered=False) as page:
        note = {"who": "Bob", "text": "from elsewhere"}
        peer.publish(TOPIC, note)
        assert note in notes_on(page)
