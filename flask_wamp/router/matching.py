"""Find the registrations and subscriptions that match a URI: exact, by prefix, by wildcard.

Source: WAMP Advanced Profile, "Pattern-based Registrations" and "Pattern-based Subscriptions".
"""

from __future__ import annotations

import typing as t

T = t.TypeVar("T")


class Index(t.Generic[T]):
    """Entries by URI and ``match``.

    A lookup takes one step for each *length* of prefix and each *shape* of wildcard that exists. The number
    of entries does not matter.
    """

    def __init__(self) -> None:
        self.exact: dict[str, T] = {}
        self.prefix: dict[str, T] = {}
        self.wildcard: dict[str, T] = {}
        self._by_match = {"exact": self.exact, "prefix": self.prefix, "wildcard": self.wildcard}
        self._lengths: dict[int, int] = {}
        """The number of prefixes by their length, the longest first."""
        self._shapes: dict[int, dict[tuple[int, ...], int]] = {}
        """The number of wildcards of each shape, by number of parts. The most specific shape comes first."""
        self.has_patterns = False

    def get(self, uri: str, match: str) -> T | None:
        """Return the entry that was added with this URI and ``match``."""
        return self._by_match[match].get(uri)

    def add(self, uri: str, match: str, entry: T) -> None:
        """Add an entry. There must be none with this URI and ``match``."""
        self._by_match[match][uri] = entry
        if match == "prefix":
            self._lengths[len(uri)] = self._lengths.get(len(uri), 0) + 1
            self._lengths = dict(sorted(self._lengths.items(), reverse=True))
        elif match == "wildcard":
            count, places = _shape(uri)
            shapes = self._shapes.setdefault(count, {})
            shapes[places] = shapes.get(places, 0) + 1
            ordered = sorted(shapes.items(), key=lambda item: _portions(count, item[0]))
            self._shapes[count] = dict(reversed(ordered))
        self.has_patterns = bool(self.prefix or self.wildcard)

    def remove(self, uri: str, match: str) -> None:
        """Remove the entry with this URI and ``match``."""
        del self._by_match[match][uri]
        if match == "prefix":
            _decrease(self._lengths, len(uri))
        elif match == "wildcard":
            count, places = _shape(uri)
            _decrease(self._shapes[count], places)
            if not self._shapes[count]:
                del self._shapes[count]
        self.has_patterns = bool(self.prefix or self.wildcard)

    def best(self, uri: str) -> T | None:
        """Return the entry that a call of a URI goes to.

        "1. Check for exact matching registration. [...] 2. If there are prefix-based registrations,
        find the registration with the longest prefix match. [...] 3. If there are wildcard-based
        registrations, find the registration with the longest portion of URI components matched
        before each wildcard."
        """
        entry = self.exact.get(uri)
        if entry is not None or not self.has_patterns:
            return entry
        return next(self._patterns(uri), None)

    def all(self, uri: str) -> list[T]:
        """Return all entries that match a topic."""
        entry = self.exact.get(uri)
        found = [] if entry is None else [entry]
        if self.has_patterns:
            found.extend(self._patterns(uri))
        return found

    def entries(self) -> t.Iterator[tuple[str, t.Iterable[T]]]:
        """Return all entries by ``match``."""
        for match, entries in self._by_match.items():
            yield match, entries.values()

    def _patterns(self, uri: str) -> t.Iterator[T]:
        size = len(uri)
        for length in self._lengths:
            if length <= size:
                entry = self.prefix.get(uri[:length])
                if entry is not None:
                    yield entry
        if self._shapes:
            parts = uri.split(".")
            for places in self._shapes.get(len(parts), ()):
                blanked = parts.copy()
                for place in places:
                    blanked[place] = ""
                entry = self.wildcard.get(".".join(blanked))
                if entry is not None:
                    yield entry


def _shape(uri: str) -> tuple[int, tuple[int, ...]]:
    """Return the number of parts of a wildcard, and which of them are empty."""
    parts = uri.split(".")
    return len(parts), tuple(place for place, part in enumerate(parts) if not part)


def _portions(count: int, places: tuple[int, ...]) -> list[int]:
    """Return the lengths of the portions between empty parts. A longer first portion is more specific."""
    ends = (*places, count)
    starts = (0, *(place + 1 for place in places))
    return [end - start for start, end in zip(starts, ends, strict=True)]


def _decrease(counts: dict[t.Any, int], key: object) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
