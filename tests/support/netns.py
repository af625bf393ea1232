"""A host of our own that can become unreachable: a network namespace at the end of a virtual cable.

Needs root and iproute2. Listeners in the namespace are sockets of this process. A thread that was in the
namespace for a moment has created them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import typing as t

_CLONE_NEWNET = 0x40000000

#: An unused link-layer address: packets for it are dropped on arrival.
_NOBODY = "02:00:00:00:00:01"


def why_not() -> str | None:
    """Return why such a host is not possible here, or None if it is."""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    if shutil.which("ip") is None:
        return "a network namespace needs iproute2"
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return f"no network namespaces: {probe.stderr.decode().strip()}" if probe.returncode else None


class Host:
    """A host that this one reaches over a cable, while a ``with`` block runs.

    Its addresses are of the range for benchmarks (RFC 2544), chosen by process id.
    """

    def __init__(self) -> None:
        self._name = f"wamp{os.getpid()}"
        network = 4 * (os.getpid() % 32768)
        prefix = f"198.{18 + network // 65536}.{network // 256 % 256}"
        self.near, self.address = (f"{prefix}.{network % 256 + host}" for host in (1, 2))

    def __enter__(self) -> Host:
        name = self._name
        _ip("netns", "add", name)
        try:
            _ip("link", "add", name, "type", "veth", "peer", "name", "far", "netns", name)
            _ip("addr", "add", f"{self.near}/30", "dev", name)
            _ip("link", "set", name, "up")
            self._there("addr", "add", f"{self.address}/30", "dev", "far")
            self._there("link", "set", "far", "up")
            self._macs = (
                _mac(_ip("-brief", "link", "show", "dev", name)),
                _mac(self._there("-brief", "link", "show", "dev", "far")),
            )
            self.deliver()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "del", self._name)
        _ip("netns", "del", self._name)

    def command(self, *command: str) -> list[str]:
        """Return the command line that runs a command there."""
        return ["ip", "netns", "exec", self._name, *command]

    def drop(self) -> None:
        """Drop all packets from now on, in both directions, without an error."""
        self._address_to(_NOBODY, _NOBODY)

    def deliver(self) -> None:
        """Let them through."""
        self._address_to(*self._macs)

    def _address_to(self, near: str, far: str) -> None:
        # Permanent: the system would notice the loss of a discovered address, and report "no route to host".
        how = ("nud", "permanent", "dev")
        _ip("neigh", "replace", self.address, "lladdr", far, *how, self._name)
        self._there("neigh", "replace", self.near, "lladdr", near, *how, "far")

    @contextlib.contextmanager
    def inside(self) -> t.Iterator[None]:
        """Enter the namespace. Sockets created meanwhile stay in it. Must not wait: this thread moves."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self._name}") as there:
            _move(there.fileno())
            try:
                yield
            finally:
                _move(home.fileno())

    def _there(self, *command: str) -> str:
        return _ip("-netns", self._name, *command)


def _mac(link: str) -> str:
    return link.split()[2]


def _ip(*command: str) -> str:
    return subprocess.run(
        ["ip", *command], capture_output=True, text=True, check=True, timeout=30
    ).stdout


def _move(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
