"""``shop.py`` with a view that forks: ``forking.py os.fork|multiprocessing``."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
import typing as t

from shop import app, wamp

assert app is not None


def sockets() -> set[str]:
    """Return the open sockets of this process."""
    links = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            link = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if link.startswith("socket:"):
            links.add(link)
    return links


def in_child(task: str, parents: set[str], writer: int) -> None:
    """Report the state of the child, and exit."""
    found: dict[str, t.Any] = {"session": wamp.client.session_id}
    if task == "start":
        wamp.start()
        wamp.client.wait_until_joined(10)
        found["session"] = wamp.client.session_id
    found["shared_sockets"] = sorted(sockets() & parents)
    os.write(writer, json.dumps(found).encode())
    os.close(writer)
    wamp.stop()


@wamp.callee
def fork(task: str) -> t.Any:
    """Fork, and return the report of the child."""
    reader, writer = os.pipe()
    arguments = task, sockets(), writer
    if sys.argv[1] == "os.fork":
        pid = os.fork()
        if pid == 0:
            in_child(*arguments)
            os._exit(0)
        os.close(writer)
        os.waitpid(pid, 0)
    else:
        process = multiprocessing.get_context("fork").Process(target=in_child, args=arguments)
        process.start()
        os.close(writer)
        process.join()
    with open(reader) as lines:
        return json.loads(lines.read())


if __name__ == "__main__":
    wamp.start()
    wamp.client.wait_until_joined()
    threading.Event().wait()
