"""The options of ``with_options``, and those that are sent."""

from __future__ import annotations

import typing as t

import pytest

from flask_wamp.protocol.options import CallOptions

NOTHING = CallOptions()

PUBLISH: dict[str, list[t.Any]] = {
    "acknowledge": [True, False],
    "exclude_me": [True, False],
    "retain": [True, False],
    "exclude": [[], [1, 2], (3,), [2**53]],
    "eligible": [[1]],
    "exclude_authid": [["joe"]],
    "exclude_authrole": [["admin", "user"]],
    "eligible_authid": [["joe"]],
    "eligible_authrole": [[]],
}

WRONG: dict[str, list[t.Any]] = {
    "timeout": [0, -1, "5", True, None, float("nan"), float("inf"), 1e10],
    "cancel_mode": ["skip", "", None, True],
    "disclose_me": [1, "yes", None],
    "acknowledge": [1, "yes", None],
    "best_effort": [1, "yes", None],
    "exclude_me": [0, None],
    "retain": ["no"],
    "exclude": [1, "joe", [1.0], [True], ["joe"], {1}, [0], [-1], [2**53 + 1]],
    "eligible": [None, [None]],
    "exclude_authid": ["joe", [1], [None]],
    "exclude_authrole": ["admin", {"admin"}],
    "eligible_authid": [b"joe", [b"joe"], ["\0"], ["\0YWJj"], ["joe", "a\n\udfffz"]],
    "eligible_authrole": [1],
    "scope": ["session", None],
    "unless_stopped": [1, None],
}


def pairs(table: dict[str, list[t.Any]]) -> list[tuple[str, t.Any]]:
    return [(name, value) for name, values in table.items() for value in values]


@pytest.mark.parametrize(("name", "value"), pairs(PUBLISH))
def test_option_of_publications(name: str, value: t.Any) -> None:
    options = NOTHING.merged({name: value})
    assert options.publish == {name: value}
    assert options.call == {}


@pytest.mark.parametrize("value", [True, False])
def test_disclose_me_is_for_both(value: bool) -> None:
    options = NOTHING.merged({"disclose_me": value})
    assert options.publish == options.call == {"disclose_me": value}


def test_best_effort_does_not_wait_for_an_acknowledgement() -> None:
    with pytest.raises(
        TypeError, match="best_effort=True cannot be combined with acknowledge=True"
    ):
        NOTHING.merged({"acknowledge": True}).merged({"best_effort": True})


def test_our_own_options_are_not_sent() -> None:
    options = NOTHING.merged({"timeout": 2.5, "cancel_mode": "kill", "best_effort": True})
    assert (options.timeout, options.cancel_mode, options.best_effort) == (2.5, "kill", True)
    assert options.publish == options.call == {}


def test_options_of_testaments() -> None:
    options = NOTHING.merged({"scope": "detached", "retain": True, "unless_stopped": True})
    assert options.testament == {"scope": "detached", "unless_stopped": True}
    assert options.publish == {"retain": True}
    assert options.merged({"scope": "destroyed"}).testament["unless_stopped"] is True


@pytest.mark.parametrize(("name", "value"), pairs(WRONG))
def test_the_error_of_a_wrong_value_names_the_option_and_the_value(name: str, value: t.Any) -> None:
    with pytest.raises(TypeError, match=f"option {name}=.* must be ") as info:
        NOTHING.merged({name: value})
    assert repr(value) in str(info.value)


def test_the_error_of_an_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(TypeError, match=r"unknown option 'acknowlege'.*acknowledge"):
        NOTHING.merged({"acknowlege": True})


def test_every_option_is_tested() -> None:
    with pytest.raises(TypeError) as info:
        NOTHING.merged({"?": 1})
    known = str(info.value).partition("The options are ")[2].split(", ")
    others = {"timeout", "cancel_mode", "best_effort", "disclose_me", "scope", "unless_stopped"}
    assert set(known) == {*PUBLISH, *others} == set(WRONG)


def test_merging_keeps_other_options() -> None:
    first = NOTHING.merged({"timeout": 1, "acknowledge": True, "disclose_me": True})
    second = first.merged({"timeout": 2, "exclude_me": False})
    assert second.timeout == 2
    assert second.publish == {"acknowledge": True, "disclose_me": True, "exclude_me": False}
    assert second.call == {"disclose_me": True}
    assert first.timeout == 1
    assert "exclude_me" not in first.publish
