"""The ES module for browsers, ``client.js``, and its types."""

from __future__ import annotations

import functools
import re
from pathlib import Path

_HERE = Path(__file__).parent

#: A declaration of codes, and one code: ``HELLO = 1``. The served module has only numbers.
_CODES = re.compile(r"^const (?:[A-Z]+ = \d+[,;]\s+)+", re.MULTILINE)
_CODE = re.compile(r"([A-Z]+) = (\d+)")
_COMMENT = re.compile(r"/\*\*(?:.|\n)*?\*/\n|(?:^|[ \t]+)// .*$", re.MULTILINE)
_INDENTATION = re.compile(r"^\s+", re.MULTILINE)
_STRING = r"""("[^"\n]*"|`[^`]*`)"""
#: A string, which is kept, or something that JavaScript does not need: whitespace around punctuation and
#: operators, the last semicolon or comma in brackets, or the parentheses around a single parameter.
_TIGHT = re.compile(
    rf"{_STRING}"
    r"|\s*;\s*(?=})|,\s*(?=[])}])"
    r"|\((\w+)\)\s*(?==>)"
    r"|\s*([][{}(),;:?!=&|<>]|(?<= )[+*/-]+(?= ))\s*"
)


@functools.cache
def client_js() -> str:
    """Return the module as it is served: under 12 kB, without comments and unneeded whitespace."""
    source = _COMMENT.sub("", (_HERE / "client.js").read_text("utf-8"))
    return _TIGHT.sub(r"\1\2\3", _INDENTATION.sub("", _with_numbers(source)))


def _with_numbers(source: str) -> str:
    """Replace the names of codes with their numbers, outside of strings."""
    numbers = dict(_CODE.findall("".join(_CODES.findall(source))))
    name_or_string = re.compile(rf"{_STRING}|\b({'|'.join(numbers)})\b")
    return name_or_string.sub(lambda found: found[1] or numbers[found[2]], _CODES.sub("", source))


@functools.cache
def client_d_ts() -> str:
    """Return the types of the module."""
    return (_HERE / "client.d.ts").read_text("utf-8")
