"""A stream that is not read uses limited memory in the caller and in the callee."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t

import pytest

from flask_wamp.crossbar import spawn_bound
from tests.support.overload import LIMIT
from tests.support.scripts import ROOT, environment

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = [pytest.mark.router, pytest.mark.slow]

BOUND = 4 * 16
"""MB that may wait: four times ``WAMP_MAX_MESSAGE_SIZE``."""


def _process(url: str, role: str, kind: str) -> subprocess.Popen[bytes]:
    return spawn_bound(
        [sys.executable, "-m", "tests.support.stream_process", url, role, kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
    )


@pytest.mark.parametrize("kind", ["threads", "gevent"])
def test_a_slow_consumer_stays_within_its_limit(wamp_router: DevRouter, kind: str) -> None:
    if kind == "gevent":
        pytest.importorskip("gevent")
    url = wamp_router.rawsocket_url
    with _process(url, "produce", kind) as producer:
        assert producer.stdin is not None
        assert producer.stdout is not None
        try:
            assert json.loads(producer.stdout.readline())["ready"]
            with _process(url, "consume", kind) as consumer:
                consumed = json.loads(consumer.communicate(timeout=LIMIT)[0])
            producer.stdin.write(b"?\n")
            producer.stdin.flush()
            produced = json.loads(producer.stdout.readline())
        finally:
            producer.stdin.close()
            producer.wait(LIMIT)
    print(f"{kind}: the consumer took {consumed}, the producer {produced}")
    assert "com.flood.chunks" in consumed["error"]
    # All chunks that fit arrived before the stream was closed: one was read, the others waited.
    assert BOUND - 5 <= consumed["taken"] <= BOUND * 1.1 + 2
    # The waiting chunks, and a few messages in transit.
    assert consumed["grown"] < BOUND + 64
    assert produced["closed"]
    assert produced["grown"] < BOUND
