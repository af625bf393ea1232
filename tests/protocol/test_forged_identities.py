"""The sender of a message that another session claims to forward."""

from __future__ import annotations

import typing as t

import pytest

from flask_wamp.protocol.disclosure import identified

Entry = dict[str, t.Any]

ROOT: Entry = {"session": 1, "authid": "root", "authrole": "admin"}
LINK: Entry = {"session": 20, "authid": "rlink", "authrole": "link"}
JOE: Entry = {"session": 7, "authid": "joe", "authrole": "user"}


def details(*forward_for: t.Any) -> Entry:
    """Return details in Crossbar's form, where the first entry is shown as the caller."""
    first = forward_for[0] if isinstance(forward_for[0], dict) else {}
    return {
        "caller": first.get("session", 1),
        "caller_authid": first.get("authid", "root"),
        "caller_authrole": first.get("authrole", "admin"),
        "forward_for": list(forward_for),
    }


def caller(found: Entry) -> tuple[t.Any, ...]:
    return found["caller"], found["caller_authid"], found["caller_authrole"]


def test_details_without_forward_for_are_not_changed() -> None:
    told: Entry = {"caller": 7, "procedure": "com.example.add"}
    assert identified(told, "caller", ["link"]) is told


CHAINS: dict[str, tuple[list[Entry], list[str], Entry]] = {
    "the last entry": ([ROOT, JOE], [], JOE),
    "one entry": ([JOE], [], JOE),
    "a trusted link": ([JOE, LINK], ["link"], JOE),
    "a link that is not trusted": ([ROOT, LINK], ["backend"], LINK),
    "two trusted links": ([JOE, LINK, LINK], ["link"], JOE),
    "forged behind a trusted link": ([ROOT, JOE, LINK], ["link"], JOE),
    "a forged link": ([ROOT, LINK, JOE], ["link"], JOE),
}


@pytest.mark.parametrize(("chain", "trusted", "true"), CHAINS.values(), ids=CHAINS)
def test_the_caller_is_the_earliest_entry_behind_trusted_links(
    chain: list[Entry], trusted: list[str], true: Entry
) -> None:
    found = identified(details(*chain), "caller", trusted)
    assert caller(found) == (true["session"], true["authid"], true["authrole"])
    assert found["forward_for"] == chain


ODD: list[t.Any] = [None, 0, "root", [], {}, [None], [ROOT, None], [ROOT, []], [ROOT, {}], [[ROOT]]]


@pytest.mark.parametrize("forward_for", ODD, ids=repr)
def test_an_invalid_chain_identifies_no_caller(forward_for: t.Any) -> None:
    told = {**details(ROOT), "forward_for": forward_for}
    assert caller(identified(told, "caller", ["link"])) == (None, None, None)


def test_a_role_that_cannot_be_looked_up_is_not_trusted() -> None:
    odd = {**LINK, "authrole": ["link"]}
    assert identified(details(ROOT, odd), "caller", frozenset(["link"]))["caller"] == 20


def test_an_undisclosed_caller_stays_undisclosed() -> None:
    assert identified({"forward_for": [ROOT, JOE]}, "publisher") == {"forward_for": [ROOT, JOE]}


@pytest.mark.parametrize("role", ["publisher", "callee"])
def test_the_rules_apply_to_publishers_and_callees(role: t.Any) -> None:
    told = {role: 1, f"{role}_authid": "root", f"{role}_authrole": "admin", "caller": 3}
    found = identified({**told, "forward_for": [ROOT, JOE]}, role)
    assert (found[role], found[f"{role}_authid"], found[f"{role}_authrole"]) == (7, "joe", "user")
    assert found["caller"] == 3
