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
#: The declaration of a private field, or of a constant of the module. Methods and functions keep their names,
#: because stack traces show them.
_FIELD = re.compile(r"^  #(\w+)(?:;| = (?!\())", re.MULTILINE)
_CONSTANT = re.compile(r"^const (\w+) = ", re.MULTILINE)
#: The rest of a statement: its line, deeper lines, and those with its closing brackets.
_REST = r"[^\n]*(?:\n\1(?: +|[)}\]])[^\n]*)*;$"
_DECLARATIONS = re.compile(rf"^( *)let {_REST}(?:\n\1let {_REST})+", re.MULTILINE)
_EMPTY_LINE = re.compile(r"^\n", re.MULTILINE)
_COMMENT = re.compile(r"/\*\*(?:.|\n)*?\*/\n|(?:^|[ \t]+)// .*$", re.MULTILINE)
_INDENTATION = re.compile(r"^\s+", re.MULTILINE)
_STRING = r"""("[^"\n]*"|`[^`]*`)"""
#: A string, which is kept, or something that JavaScript does not need: the parentheses of ``new Map()``, the
#: brackets of ``[1]:``, the last semicolon or comma in brackets, the parentheses around a single parameter,
#: or whitespace around punctuation and operators.
_TIGHT = re.compile(
    rf"{_STRING}"
    r"|(new \w+)\(\)|\[(\d+)\](?=:)"
    r"|\s*;\s*(?=})|,\s*(?=[])}])"
    r"|\((\w+)\)\s*(?==>)"
    r"|\s*([][{}(),;:?!=&|<>]|(?<= )[+*/-]+(?= ))\s*"
)


@functools.cache
def client_js() -> str:
    """Return the module as it is served: under 12 kB, without comments and unneeded whitespace."""
    source = _COMMENT.sub("", (_HERE / "client.js").read_text("utf-8"))
    source = _with_short_names(_EMPTY_LINE.sub("", source))
    while (joined := _DECLARATIONS.sub(_joined, source)) != source:
        source = joined
    return _TIGHT.sub(r"\1\2\3\4\5", _INDENTATION.sub("", source))


def _joined(declarations: re.Match[str]) -> str:
    """Join declarations: ``const a = 1, b = 2;``."""
    return re.sub(rf";\n{declarations[1]}let ", ",\n", declarations[0])


def _with_short_names(source: str) -> str:
    """Replace codes with their numbers, ``const`` with ``let``, and other names with letters."""
    short = {
        "const": "let",
        "true": "!0",
        "undefined": "void 0",
        **dict(_CODE.findall("".join(_CODES.findall(source)))),
    }
    source = _CODES.sub("", source)
    short |= zip(_CONSTANT.findall(source), string.ascii_uppercase, strict=False)
    fields = dict(zip(_FIELD.findall(source), string.ascii_lowercase, strict=False))
    return re.sub(
        rf"{_STRING}|#({'|'.join(fields)})\b|(?<![\w#.])({'|'.join(short)})\b",
        lambda found: found[1] or (f"#{fields[found[2]]}" if found[2] else short[found[3]]),
        source,
    )


@functools.cache
def client_d_ts() -> str:
    """Return the types of the module."""
    return (_HERE / "client.d.ts").read_text("utf-8")
