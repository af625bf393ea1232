"""The vectors of the WAMP specification: https://github.com/wamp-proto/wamp-proto, ``testsuite``.

Payloads that are encrypted for a peer ("payload transparency") are kept and forwarded, but not decoded.

Some vectors are not used: the serializers that we do not have (ubjson, flatbuffers); EVENT_RECEIVED (337),
which is not a message of the specification; and samples of ``options_validation``, which expect that a wrong
type in details is refused. We ignore details that we do not understand, as the specification requires.
"""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import msgspec
import pytest

from flask_wamp.exceptions import InvalidPayload
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.raw_payload import opaque_payload
from tests.support.wire import SERIALIZERS, router_serializer

Sample = dict[str, t.Any]

#: Names in the vectors that are not those of the specification.
FIELDS = {
    "method": "authmethod",
    "subscription": "subscription_id",
    "publication": "publication_id",
}

CLASSES = {m.code(cls): cls for cls in t.get_args(m.AnyMessage)}


def samples(*, encrypted: bool = False) -> t.Iterator[t.Any]:
    for path in sorted(Path(__file__).with_name("vectors").glob("*/*.json")):
        for number, sample in enumerate(json.loads(path.read_text())["samples"]):
            if "serializers" in sample and is_encrypted(sample) is encrypted:
                for name in SERIALIZERS:
                    yield pytest.param(sample, name, id=f"{path.stem}-{number}-{name}")


def is_encrypted(sample: Sample) -> bool:
    return bool(sample["expected_attributes"].get("payload"))


def encodings(sample: Sample, name: str) -> list[bytes]:
    return [bytes.fromhex(each["bytes_hex"]) for each in sample["serializers"][name]]


def expected(sample: Sample) -> m.Message:
    """Return the message as our object."""
    attributes = dict(sample["expected_attributes"])
    attributes.pop("payload", None)
    if "roles" in attributes:
        attributes["details"] = {"roles": attributes.pop("roles")}
    cls = CLASSES[attributes.pop("message_type")]
    fields = {FIELDS.get(name, name): value for name, value in attributes.items()}
    for name in ("args", "kwargs"):
        fields[f"raw_{name}"] = fields.pop(name, None)
    return cls(**{name: value for name, value in fields.items() if value is not None})


@pytest.mark.parametrize(("sample", "name"), list(samples()))
def test_decoding_a_vector(sample: Sample, name: str) -> None:
    for data in encodings(sample, name):
        assert router_serializer(name).decode(data) == expected(sample)


@pytest.mark.parametrize(("sample", "name"), list(samples()))
def test_encoding_a_vector(sample: Sample, name: str) -> None:
    assert router_serializer(name).encode(expected(sample)) in encodings(sample, name)


def test_vectors_cover_every_message() -> None:
    covered = {type(expected(param.values[0])) for param in samples()}
    assert covered == set(CLASSES.values())


@pytest.mark.parametrize("cls", CLASSES.values(), ids=lambda cls: cls.__name__)
def test_unknown_elements_at_the_end_are_ignored(cls: type[m.Message]) -> None:
    fields = [0 if kind is int else kind() for kind in plain_types(cls)]
    data = msgspec.msgpack.encode([m.code(cls), *fields, {"from": "the future"}])
    assert type(router_serializer("msgpack").decode(data)) is cls


def plain_types(cls: type[m.Message]) -> list[t.Any]:
    hints = t.get_type_hints(cls)
    kinds = {"raw_args": list, "raw_kwargs": dict}
    return [
        kinds.get(each) or t.get_origin(hints[each]) or hints[each]
        for each in cls.__struct_fields__
    ]


@pytest.mark.parametrize(("sample", "name"), list(samples(encrypted=True)))
def test_an_encrypted_payload_is_kept_undecoded(sample: Sample, name: str) -> None:
    attributes = sample["expected_attributes"]
    for data in encodings(sample, name):
        message = router_serializer(name).decode(data)
        assert isinstance(message, m.PayloadMessage)
        envelope = msgspec.structs.replace(message, raw_args=[], raw_kwargs={})
        assert envelope == expected(sample)
        with pytest.raises(InvalidPayload, match="args must be a list|Expected `array"):
            message.decode_payload()
        for there in SERIALIZERS:
            passed_on = router_serializer(there).decode(router_serializer(there).encode(message))
            assert isinstance(passed_on, m.PayloadMessage)
            assert opaque_payload(passed_on.raw_args) == bytes.fromhex(attributes["payload"])


def test_there_are_encrypted_samples() -> None:
    assert len(list(samples(encrypted=True))) == 4 * len(SERIALIZERS)
