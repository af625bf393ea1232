"""The ES module for browsers, ``client.js``, and its types."""

from __future__ import annotations

import functools
import re
import string
from pathlib import Path

_HERE = Path(__file__).parent

#: A declaration of codes, and one code: ``HELLO = 1``. The served module has only numbers.
_CODES = re.compile(r"^const (?:[A-Z]+ = \d+[,;]\s+)+", re.MULTILINE)
_CODE = re.compile(r"([A-Z]+) = (\d+)")
#: The declaration of a private field. Methods keep their names, because stack traces show them.
_FIELD = re.compile(r"^  (#\w+)(?:;| = (?!\())", re.MULTILINE)
_DECLARATIONS = re.compile(r"^( *)const [^\n]*;(?:\n\1const [^\n]*;)+$", re.MULTILINE)
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
    source = _with_short_names(_DECLARATIONS.sub(_joined, source))
    return _TIGHT.sub(r"\1\2\3", _INDENTATION.sub("", source))


def _joined(declarations: re.Match[str]) -> str:
    """Join declarations: ``const a = 1, b = 2;``."""
    return re.sub(r";\n *const ", ", ", declarations[0])


def _with_short_names(source: str) -> str:
    """Replace the names of codes with their numbers, and those of private fields with letters."""
    short = dict(_CODE.findall("".join(_CODES.findall(source))))
    for field, letter in zip(_FIELD.findall(source), string.ascii_letters, strict=False):
        short[field] = f"#{letter}"
    short["const"] = "let"
    names = "|".join(short)
    return re.sub(
        rf"{_STRING}|(?<![\w#])({names})\b",
        lambda found: found[1] or short[found[2]],
        _CODES.sub("", source),
    )


@functools.cache
def client_d_ts() -> str:
    """Return the types of the module."""
    return (_HERE / "client.d.ts").read_text("utf-8")
