"""Any value of JSON's types and bytes arrives unchanged, in every serializer."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_wamp.exceptions import SerializationError
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.payload import plain
from tests.protocol.strategies import kwargs, payloads
from tests.support.wire import SERIALIZERS, router_serializer


@given(payloads)
def test_payload_stays_equal(value: t.Any) -> None:
    assert plain(value) == value


@given(payloads)
def test_a_plain_payload_is_not_changed(value: t.Any) -> None:
    once = plain(value, binary=False)
    assert plain(once, binary=False) == once


@pytest.mark.parametrize("name", SERIALIZERS)
@given(args=st.lists(payloads, max_size=3), kwargs=kwargs)
def test_payload_arrives_as_it_was(name: str, args: list[t.Any], kwargs: dict[str, t.Any]) -> None:
    serializer = router_serializer(name)
    data = serializer.encode(m.Yield(1, {}, serializer.plain(args), serializer.plain(kwargs)))
    message = serializer.decode(data)
    assert message == m.Yield(1, {}, args, kwargs)


anything = st.recursive(
    st.one_of(st.floats(), st.integers(), st.text(), st.binary(), st.complex_numbers(), st.uuids()),
    lambda children: st.one_of(
        st.lists(children, max_size=4),
        st.sets(st.integers(), max_size=4),
        st.tuples(children),
        st.dictionaries(st.one_of(st.text(), st.integers()), children, max_size=4),
    ),
    max_leaves=10,
)


@pytest.mark.parametrize("name", SERIALIZERS)
@given(value=anything)
def test_anything_is_encoded_or_refused(name: str, value: t.Any) -> None:
    serializer = router_serializer(name)
    try:
        data = serializer.encode(m.Yield(1, {}, [serializer.plain(value)]))
    except SerializationError:
        return
    assert isinstance(serializer.decode(data), m.Yield)
