"""URI patterns: in ``com.example.<int:user_id>.get`` the third part is an argument of the handler.

For the router that is the wildcard ``com.example..get``. The syntax is that of Flask's routes; a part is what
stands between two dots, so it never holds one.
"""

from __future__ import annotations

import keyword
import math
import re
import typing as t
import uuid

from .uris import check_uri

#: ``<user_id>`` and ``<int:user_id>``.
_PART = re.compile(r"<(?:(?P<converter>[^<>:]*):)?(?P<name>[^<>:]*)>")

#: What parts without a name are called: counted from 1, from left to right.
_ANONYMOUS = "part{}"


class Converter(t.NamedTuple):
    """Makes a value of a part.

    :param convert: Raises ``ValueError`` for what it does not take.
    :param kind: What is wrong then, in pydantic's words.
    :param msg: The same in words for people.
    """

    convert: t.Callable[[str], object]
    kind: str
    msg: str


def _if(pattern: str, convert: t.Callable[[str], object]) -> t.Callable[[str], object]:
    """Convert what looks so and nothing else: Python also reads ``+7``, ``1_0`` and Arabic digits."""
    looks_right = re.compile(pattern).fullmatch

    def checked(text: str) -> object:
        if looks_right(text) is None:
            raise ValueError(text)
        return convert(text)

    return checked


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


_UUID = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"

#: What may stand before the colon. As in Flask's routes ``int`` and ``float`` have no sign, and as a part
#: holds no dot, ``float`` is ``15`` or ``15e-1``. Flask's ``path`` and ``any`` are missing.
CONVERTERS: dict[str, Converter] = {
    "string": Converter(str, "string_type", "Input should be a valid string"),
    "int": Converter(
        _if(r"[0-9]+", int), "int_parsing", "Input should be a whole number, in digits"
    ),
    "float": Converter(
        _if(r"[0-9]+([eE][+-]?[0-9]+)?", _finite), "float_parsing", "Input should be a number"
    ),
    "uuid": Converter(_if(_UUID, uuid.UUID), "uuid_parsing", "Input should be a valid UUID"),
}


class Part(t.NamedTuple):
    """A part of a URI that is not given: the router takes anything there."""

    place: int
    name: str
    converter: Converter
    is_named: bool
    """Whether it has its name in the pattern."""


class Pattern(t.NamedTuple):
    """A URI as it was written, and what the router is told."""

    written: str
    uri: str
    match: str
    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, written: str, match: str | None) -> Pattern:
        """Read a URI or pattern.

        :param match: None: ``wildcard`` where there are named parts, else ``exact``.
        :raises ValueError: Something with ``<`` and ``>`` that is no part, or ``match`` does not allow it.
        """
        texts = written.split(".")
        has_names = "<" in written or ">" in written
        if has_names and match not in (None, "wildcard"):
            raise ValueError(f"{written!r} has named parts: it is match='wildcard', not {match!r}")
        match = match or ("wildcard" if has_names else "exact")
        if match != "wildcard":
            return cls(written, written, match, ())
        parts = tuple(_parts(texts))
        names = [part.name for part in parts if part.is_named]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{written!r} names two parts {name!r}")
        for part in parts:
            texts[part.place] = ""
        return cls(written, ".".join(texts), match, parts)

    def check(self, what: str) -> None:
        """Check that it may be sent.

        :param what: ``procedure`` or ``topic``, for the message.
        :raises ValueError: It matches everything.
        :raises InvalidURI: The router would refuse it.
        """
        if self.parts and not self.uri:
            raise ValueError(f"{self.written!r} needs a second part, or a prefix")
        check_uri(self.uri, what, self.match)

    def texts(self, uri: str) -> list[str]:
        """What stands for the parts in a URI that matches.

        :raises ValueError: It does not match: the router has not told which URI was meant.
        """
        texts = uri.split(".")
        count = self.uri.count(".") + 1
        found = [texts[part.place] for part in self.parts] if len(texts) == count else [""]
        if "" in found:
            raise ValueError(f"the router sent {uri!r} for {self.written!r}")
        return found


def as_declared(uri: str, match: str) -> tuple[str, str]:
    """The URI and ``match`` that something was declared by, for who has to find it again."""
    pattern = Pattern.parse(uri, None if match == "exact" else match)
    return pattern.uri, pattern.match


def _parts(texts: t.Iterable[str]) -> t.Iterator[Part]:
    anonymous = 0
    for place, text in enumerate(texts):
        if not text:
            anonymous += 1
            yield Part(place, _ANONYMOUS.format(anonymous), CONVERTERS["string"], False)
        elif "<" in text or ">" in text:
            yield _named(place, text)


def _named(place: int, text: str) -> Part:
    found = _PART.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is neither a name nor a whole part such as '<int:user_id>'")
    name, converter = found["name"], found["converter"]
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"{name!r} in {text!r} cannot be the name of a parameter")
    if converter is not None and converter not in CONVERTERS:
        known = ", ".join(map(repr, CONVERTERS))
        raise ValueError(f"{converter!r} in {text!r} is no converter here; there are {known}")
    return Part(place, name, CONVERTERS[converter or "string"], True)
