"""One table of cases for both enforcers: the embedded router, and Crossbar.io with the app as its authorizer.

The cases come from the rights in ``apps/guarded.py``: action x role of the right x form of its URI x request
x role of the client. The expected results are written down here, and not computed as in the library.
"""

from __future__ import annotations

import typing as t

import pytest

from tests.support.apps.guarded import ACTIONS, NAMES
from tests.support.browser import Browser, Refused
from tests.support.served import Served

from .conftest import BOTH_ROUTERS, two_workers
from .visitor import Visitor

pytestmark = [pytest.mark.slow, BOTH_ROUTERS]

#: By the form of a right's URI: the requested URI, its ``match``, and whether the right covers it.
#: ``ME`` is the authid of the client.
FORMS: dict[str, list[tuple[str, str, bool]]] = {
    "exact": [
        ("exact.a", "exact", True),
        ("exact.b", "exact", False),
        ("exact.a.b", "exact", False),
        ("exact.a", "prefix", False),
        ("exact.a", "wildcard", False),
    ],
    "prefix": [
        ("prefix.a", "exact", True),
        ("prefix.a.b", "exact", True),
        ("prefix", "exact", False),
        ("prefix.", "prefix", True),
        ("prefix.a", "prefix", True),
        ("prefix", "prefix", False),
        ("prefix..b", "wildcard", True),
    ],
    "wildcard": [
        ("wild.a.end", "exact", True),
        ("wild.a.other", "exact", False),
        ("wild.a.b.end", "exact", False),
        ("wild..end", "wildcard", True),
        ("wild.a.", "wildcard", False),
        ("wild..", "wildcard", False),
        ("wild.a.end", "prefix", False),
        ("wild.", "prefix", False),
    ],
    "own": [
        ("own.ME.x", "exact", True),
        ("own.bob.x", "exact", False),
        ("own.ME.y", "exact", False),
        ("own..x", "wildcard", False),
        ("own.ME.", "prefix", False),
        ("own.", "prefix", False),
    ],
}

#: The roles whose rights a visitor has.
HOLDS = {
    "anonymous": {"anonymous"},
    "ann": {"anonymous", "*", "member"},
    "root": {"anonymous", "*", "admin"},
}

#: The combined decisions of the authorizer and the table, for all clients.
ASKED = [("yes", True), ("no", False), ("none", True), ("nothing", False)]

Case = tuple[str, str, bool]
CODES = {"call": 48, "register": 64, "publish": 16, "subscribe": 32}


def cases(action: str, who: str) -> list[Case]:
    """Return the requests of a client: URI, ``match``, and whether it is allowed."""
    made: list[Case] = []
    for role, name in NAMES.items():
        for asked in FORMS.values():
            for uri, match, covered in asked:
                if match == "exact" or action in ("register", "subscribe"):
                    allowed = covered and role in HOLDS[who]
                    made.append((f"com.guard.{action}.{name}.{uri}", match, allowed))
    made += [(f"com.guard.{action}.asked.{name}", "exact", yes) for name, yes in ASKED]
    made += [(uri, "exact", False) for uri in ("wamp.session.count", "com.guard.flask_wamp.x")]
    return made


def test_there_are_enough_cases(router: dict[str, str]) -> None:
    assert sum(len(cases(action, who)) for action in ACTIONS for who in HOLDS) > 700


@pytest.fixture(scope="module")
def guarded(router: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Served]:
    with two_workers("guarded", router, tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="module", params=list(HOLDS))
def visitor(guarded: Served, request: pytest.FixtureRequest) -> t.Iterator[tuple[str, Browser]]:
    name = None if request.param == "anonymous" else request.param
    with Visitor(guarded.port, name).join_router() as browser:
        role = {"anonymous": "anonymous", "ann": "member", "root": "admin"}[request.param]
        assert browser.authrole == role
        yield request.param, browser


def is_allowed(browser: Browser, action: str, uri: str, match: str) -> bool:
    """Send a request to the router. Undo it if it was allowed."""
    options: dict[str, t.Any] = {} if match == "exact" else {"match": match}
    if action == "publish":
        options["acknowledge"] = True
    try:
        answer = browser.ask(CODES[action], options, uri)
    except Refused as error:
        assert error.uri in ("wamp.error.not_authorized", "wamp.error.invalid_uri"), error
        return False
    if action in ("register", "subscribe"):
        browser.ask(CODES[action] + 2, answer[2])  # UNREGISTER, UNSUBSCRIBE
    elif action == "call":
        assert answer[3] == [uri]
    return True


@pytest.mark.parametrize("action", ACTIONS)
def test_both_routers_allow_the_same(visitor: tuple[str, Browser], action: str) -> None:
    who, browser = visitor
    wrong = []
    for uri, match, allowed in cases(action, who):
        asked = uri.replace(".ME.", f".{browser.authid}.")
        if is_allowed(browser, action, asked, match) is not allowed:
            wrong.append((who, action, uri, match, f"should be {allowed}"))
    assert wrong == []
