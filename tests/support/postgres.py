"""A PostgreSQL server for the tests, from Debian's packages."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import typing as t
from pathlib import Path

from flask_wamp.crossbar import free_port, spawn_bound, stop_process
from tests.conftest import eventually

#: The folders of Debian's programs that are not on ``PATH``, one for each version.
DEBIAN = Path("/usr/lib/postgresql")

USER = "postgres"
"""The user of the server if the tests run as root, which PostgreSQL refuses. Debian's packages create it."""


def find_postgres() -> Path | None:
    """The folder of ``initdb`` and ``postgres``, or None if they are not installed."""
    folders = sorted(DEBIAN.glob("*/bin"), key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    usable = [folder for folder in folders if (folder / "postgres").exists()]
    return usable[-1] if usable else None


@contextlib.contextmanager
def running_postgres(programs: Path) -> t.Iterator[str]:
    """Run a server on a free port, in a temporary folder. Yield the URL of its database for SQLAlchemy.

    :param programs: The result of :func:`find_postgres`.
    """
    port = free_port()
    as_user = _as_user()
    # Not pytest's folder, which only its owner can enter.
    with tempfile.TemporaryDirectory(prefix="flask-wamp-postgres-") as data:
        if as_user:
            shutil.chown(data, USER, USER)
        initdb = [f"{programs}/initdb", "-D", data, "-U", USER, "-A", "trust", "--no-sync"]
        subprocess.run([*as_user, *initdb], check=True, cwd=data, stdout=subprocess.DEVNULL)
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        options = [f"--{name}={value}" for name, value in settings.items()]
        server = spawn_bound(
            [*as_user, f"{programs}/postgres", "-D", data, "-p", str(port), *options],
            cwd=data,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def is_ready() -> bool:
            assert server.poll() is None, "PostgreSQL ended by itself"
            look = [f"{programs}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
            return subprocess.run(look).returncode == 0

        try:
            eventually(is_ready, 30)
            yield f"postgresql+psycopg://{USER}@127.0.0.1:{port}/postgres"
        finally:
            stop_process(server, 10, signal.SIGINT)  # which does not wait for its clients


def _as_user() -> list[str]:
    """Return the beginning of a command line that does not run as root."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    assert setpriv, "there is no setpriv"
    # Changing the user resets the flag to end with the parent.
    return [setpriv, f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--pdeathsig=TERM"]
