"""The ES module for browsers, ``client.js``, and its types."""

from __future__ import annotations

import functools
import re
from pathlib import Path

_HERE = Path(__file__).parent

_COMMENT = re.compile(r"/\*\*(?:.|\n)*?\*/\n|(?:^|[ \t]+)// .*$", re.MULTILINE)
_INDENTATION = re.compile(r"^\s+", re.MULTILINE)
#: A string, which is kept, or something that JavaScript does not need: whitespace around punctuation and
#: operators, the last semicolon or comma in brackets, or the parentheses around a single parameter.
_TIGHT = re.compile(
    r"""("[^"\n]*"|`[^`]*`)"""
    r"|\s*;\s*(?=})|,\s*(?=[])}])"
    r"|\((\w+)\)\s*(?==>)"
    r"|\s*([][{}(),;:?!=&|<>]|(?<= )[+*/-]+(?= ))\s*"
)


@functools.cache
def client_js() -> str:
    """Return the module as it is served: under 12 kB, without comments and unneeded whitespace."""
    source = (_HERE / "client.js").read_text("utf-8")
    return _TIGHT.sub(r"\1\2\3", _INDENTATION.sub("", _COMMENT.sub("", source)))


@functools.cache
def client_d_ts() -> str:
    """Return the types of the module."""
    return (_HERE / "client.d.ts").read_text("utf-8")
