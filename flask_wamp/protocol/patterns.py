"""URI patterns. In ``com.example.<int:user_id>.get`` the third part is an argument of the handler.

The router gets the wildcard ``com.example..get``. The syntax is that of Flask's routes. A part is the text
between two dots, so it never contains a dot.
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

#: The names of unnamed parts. They are counted from 1, from left to right.
_ANONYMOUS = "part{}"


class Converter(t.NamedTuple):
    """Converts the text of a part to a value.

    :param convert: The function. It raises ``ValueError`` for text that it does not accept.
    :param kind: The type of that error, as pydantic names it.
    :param msg: The message of that error.
    """

    convert: t.Callable[[str], object]
    kind: str
    msg: str


def _if(pattern: str, convert: t.Callable[[str], object]) -> t.Callable[[str], object]:
    """Convert only text that matches the pattern. Python also reads ``+7``, ``1_0`` and Arabic digits."""
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

#: The names before the colon. As in Flask's routes, ``int`` and ``float`` have no sign. A part contains no
#: dot, so a ``float`` is ``15`` or ``15e-1``. Flask's ``path`` and ``any`` are not supported.
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
    """A variable part of a URI, in which the router accepts any text."""

    place: int
    name: str
    converter: Converter
    is_named: bool
    """Whether it has a name in the pattern."""


class Pattern(t.NamedTuple):
    """A URI or pattern as it was written, and the URI and ``match`` that the router gets."""

    written: str
    uri: str
    match: str
    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, written: str, match: str | None) -> Pattern:
        """Parse a URI or pattern.

        :param match: None means ``wildcard`` if there are named parts, and ``exact`` if not.
        :raises ValueError: A part is not valid, or ``match`` does not allow named parts.
        """
        texts = written.split(".")
        has_names = "<" in written or ">" in written
        if has_names and match not in (None, "wildcard"):
            raise ValueError(
                f"{written!r} has named parts, which require match='wildcard', not {match!r}"
            )
        match = match or ("wildcard" if has_names else "exact")
        if match != "wildcard":
            return cls(written, written, match, ())
        parts = tuple(_parts(texts))
        names = [part.name for part in parts if part.is_named]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{written!r} has two parts with the name {name!r}")
        for part in parts:
            texts[part.place] = ""
        return cls(written, ".".join(texts), match, parts)

    def check(self, what: str) -> None:
        """Check that the router accepts the pattern.

        :param what: ``procedure`` or ``topic``, for the error text.
        :raises ValueError: The pattern is one variable part, without any other part.
        :raises InvalidURI: The router would refuse the URI.
        """
        if self.parts and not self.uri:
            raise ValueError(f"{self.written!r} needs a second part, or a prefix")
        check_uri(self.uri, what, self.match)

    def texts(self, uri: str) -> list[str]:
        """Return the texts of the parts in a URI that matches the pattern.

        :raises ValueError: The URI does not match the pattern. It is empty if the router has not sent it.
        """
        texts = uri.split(".")
        count = self.uri.count(".") + 1
        found = [texts[part.place] for part in self.parts] if len(texts) == count else [""]
        if "" in found:
            raise ValueError(f"the router sent {uri!r} for {self.written!r}")
        return found


def as_declared(uri: str, match: str) -> tuple[str, str]:
    """Return the URI and ``match`` under which a declaration is found."""
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
        raise ValueError(f"{converter!r} in {text!r} is not a converter; use one of {known}")
    return Part(place, name, CONVERTERS[converter or "string"], True)
