"""What ``with_options`` takes, and what of it goes on the wire."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import re
import typing as t

from .execution import is_seconds
from .messages import Details

Check = t.Callable[[t.Any], bool]


def _is_bool(value: t.Any) -> bool:
    return isinstance(value, bool)


def _is_session_ids(value: t.Any) -> bool:
    return isinstance(value, list | tuple) and all(
        type(item) is int and 0 < item <= _MAX_ID for item in value
    )


def _is_names(value: t.Any) -> bool:
    return isinstance(value, list | tuple) and all(
        type(item) is str and not _NO_TEXT.match(item) for item in value
    )


#: Source: WAMP Basic Profile, "IDs".
_MAX_ID = 2**53

#: Text that JSON takes for bytes, because it begins with NUL, or that has no encoding.
_NO_TEXT = re.compile("\0|.*[\ud800-\udfff]", re.DOTALL)

#: Option, what it must be, how to say so. Crossbar closes the session for one of a wrong type.
_OPTIONS: dict[str, tuple[Check, str]] = {
    "timeout": (is_seconds, "a positive number of seconds"),
    "cancel_mode": (lambda value: value in ("kill", "killnowait"), "'kill' or 'killnowait'"),
    "disclose_me": (_is_bool, "True or False"),
    "acknowledge": (_is_bool, "True or False"),
    "exclude_me": (_is_bool, "True or False"),
    "retain": (_is_bool, "True or False"),
    "exclude": (_is_session_ids, "a list of session ids"),
    "exclude_authid": (_is_names, "a list of strings"),
    "exclude_authrole": (_is_names, "a list of strings"),
    "eligible": (_is_session_ids, "a list of session ids"),
    "eligible_authid": (_is_names, "a list of strings"),
    "eligible_authrole": (_is_names, "a list of strings"),
}

_CALL = ("disclose_me",)
_PUBLISH = tuple(name for name in _OPTIONS if name not in ("timeout", "cancel_mode"))


@dataclasses.dataclass(frozen=True)
class CallOptions:
    """Options of calls and publications, checked."""

    timeout: float | None = None
    cancel_mode: str = "killnowait"
    call: Details = dataclasses.field(default_factory=dict)
    """CALL.Options."""
    publish: Details = dataclasses.field(default_factory=dict)
    """PUBLISH.Options."""

    def merged(self, options: t.Mapping[str, t.Any]) -> CallOptions:
        """Return these options with some changed.

        :raises TypeError: An unknown name, or a value that is not what the option takes.
        """
        check_options(options)
        return CallOptions(
            timeout=options.get("timeout", self.timeout),
            cancel_mode=options.get("cancel_mode", self.cancel_mode),
            call={**self.call, **_only(_CALL, options)},
            publish={**self.publish, **_only(_PUBLISH, options)},
        )


def check_options(options: t.Mapping[str, t.Any]) -> None:
    """Raise ``TypeError`` for an unknown name, or a value that is not what the option takes."""
    if not isinstance(options, c.Mapping):
        raise TypeError(f"options={options!r} must be a dictionary")
    for name, value in options.items():
        if name not in _OPTIONS:
            raise TypeError(f"unknown option {name!r}; there are {', '.join(_OPTIONS)}")
        check, kind = _OPTIONS[name]
        if not check(value):
            raise TypeError(f"option {name}={value!r} must be {kind}")


def _only(names: t.Iterable[str], options: t.Mapping[str, t.Any]) -> Details:
    return {name: options[name] for name in names if name in options}
