"""The options of ``with_options``, and how they are sent to the router."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import re
import typing as t

from .checks import is_seconds
from .messages import Details

Check = t.Callable[[object], bool]


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_session_ids(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        type(item) is int and 0 < item <= _MAX_ID for item in value
    )


def _is_names(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        type(item) is str and not _NO_TEXT.match(item) for item in value
    )


#: Source: WAMP Basic Profile, "IDs".
_MAX_ID = 2**53

#: Matches text that means bytes in JSON, because it begins with NUL, and text that cannot be encoded.
_NO_TEXT = re.compile("\0|.*[\ud800-\udfff]", re.DOTALL)

#: The options, each with a check and a description of its values. Crossbar ends the session if the type of a
#: value is wrong.
_OPTIONS: dict[str, tuple[Check, str]] = {
    "timeout": (is_seconds, "a positive number of seconds"),
    "cancel_mode": (lambda value: value in ("kill", "killnowait"), "'kill' or 'killnowait'"),
    "disclose_me": (_is_bool, "True or False"),
    "acknowledge": (_is_bool, "True or False"),
    "best_effort": (_is_bool, "True or False"),
    "exclude_me": (_is_bool, "True or False"),
    "retain": (_is_bool, "True or False"),
    "exclude": (_is_session_ids, "a list of session ids"),
    "exclude_authid": (_is_names, "a list of strings"),
    "exclude_authrole": (_is_names, "a list of strings"),
    "eligible": (_is_session_ids, "a list of session ids"),
    "eligible_authid": (_is_names, "a list of strings"),
    "eligible_authrole": (_is_names, "a list of strings"),
    "scope": (lambda value: value in ("destroyed", "detached"), "'destroyed' or 'detached'"),
    "unless_stopped": (_is_bool, "True or False"),
}

#: The options that name the only receivers of an event. To Crossbar 26.10, an empty list means all sessions.
#: Here, it means no session.
_ELIGIBLE = ("eligible", "eligible_authid", "eligible_authrole")

#: The options that choose the receivers of an event.
RECEIVERS = ("exclude", "exclude_authid", "exclude_authrole", *_ELIGIBLE)

#: The options that do not work with ``retain``. Crossbar 26.10 fails with the first one, and ignores the
#: others when it sends a retained event.
_NOT_RETAINED = (
    "exclude",
    "exclude_authid",
    "exclude_authrole",
    "eligible_authid",
    "eligible_authrole",
)

_CALL = ("disclose_me",)
_TESTAMENT = ("scope", "unless_stopped")
_OWN = ("timeout", "cancel_mode", "best_effort")
_PUBLISH = tuple(name for name in _OPTIONS if name not in (*_OWN, *_TESTAMENT))


@dataclasses.dataclass(frozen=True)
class CallOptions:
    """Checked options of calls and publications."""

    timeout: float | None = None
    cancel_mode: str = "killnowait"
    best_effort: bool = False
    """Whether a publication is kept or dropped, instead of failing, while there is no session."""
    call: Details = dataclasses.field(default_factory=dict)
    """``CALL.Options``."""
    publish: Details = dataclasses.field(default_factory=dict)
    """``PUBLISH.Options``, before :meth:`on_the_wire`."""
    has_no_receivers: bool = False
    """Whether no session may receive an event."""
    testament: Details = dataclasses.field(default_factory=dict)
    """The options that only testaments have."""

    def merged(self, options: t.Mapping[str, t.Any]) -> CallOptions:
        """Return a copy of these options with changes.

        :raises TypeError: The name of an option is unknown, or its value is not allowed.
        """
        check_options(options)
        publish = {**self.publish, **_only(_PUBLISH, options)}
        best_effort = options.get("best_effort", self.best_effort)
        if best_effort and publish.get("acknowledge"):
            raise TypeError(
                "best_effort=True cannot be combined with acknowledge=True, which waits for the router"
            )
        _check_retained(publish)
        return CallOptions(
            timeout=options.get("timeout", self.timeout),
            cancel_mode=options.get("cancel_mode", self.cancel_mode),
            best_effort=best_effort,
            call={**self.call, **_only(_CALL, options)},
            publish=publish,
            has_no_receivers=any(len(publish.get(name, "x")) == 0 for name in _ELIGIBLE),
            testament={**self.testament, **_only(_TESTAMENT, options)},
        )

    def on_the_wire(self, session_id: int | None) -> Details:
        """Return ``PUBLISH.Options`` for a session."""
        options = self.publish
        if self.has_no_receivers:
            excluded = [*options.get("exclude", ()), session_id]
            return {**options, "eligible": [session_id], "exclude": excluded}
        if options.get("retain") and "eligible" in options:
            # Without this list, Crossbar fails later, and a subscriber gets no answer.
            return {**options, "exclude": []}
        return options


def check_options(options: t.Mapping[str, object]) -> None:
    """Check the names and values of options.

    :raises TypeError: The name of an option is unknown, or its value is not allowed.
    """
    if not isinstance(options, c.Mapping):
        raise TypeError(f"options={options!r} must be a dictionary")
    for name, value in options.items():
        if name not in _OPTIONS:
            raise TypeError(f"unknown option {name!r}. The options are {', '.join(_OPTIONS)}")
        check, kind = _OPTIONS[name]
        if not check(value):
            raise TypeError(f"option {name}={value!r} must be {kind}")


def _check_retained(options: Details) -> None:
    for name in _NOT_RETAINED if options.get("retain") else ():
        if options.get(name):
            raise TypeError(
                f"retain=True cannot be combined with {name}: the router would later send the retained event "
                "to other sessions too. Use eligible with session ids, or do not retain the event"
            )


def _only(names: t.Iterable[str], options: t.Mapping[str, object]) -> Details:
    return {name: options[name] for name in names if name in options}
