"""Payloads for property tests."""

from __future__ import annotations

import typing as t

from hypothesis import strategies as st

#: Any text that does not begin with NUL, which means bytes in JSON.
texts = st.text(max_size=20).filter(lambda text: not text.startswith("\0"))

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
    st.binary(max_size=20),
)

payloads: st.SearchStrategy[t.Any] = st.recursive(
    scalars,
    lambda children: st.one_of(
        st.lists(children, max_size=5), st.dictionaries(texts, children, max_size=5)
    ),
    max_leaves=20,
)

kwargs = st.dictionaries(texts, payloads, max_size=3)
