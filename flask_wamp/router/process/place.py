"""The sockets and files of an embedded router, in a folder that only its user can enter."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import typing as t
from pathlib import Path

from ..._version import __version__
from ...transports.urls import LONGEST_EMBEDDED_PATH

#: What to do if the files of the router cannot be written.
ADVICE: t.Final = (
    "Set WAMP_ROUTER_URL to embedded:/path/to/a.sock in a folder where this user may write. If "
    "WAMP_ROUTER_URL has no path, you may set XDG_RUNTIME_DIR instead, to a folder that only this user can "
    "enter"
)


class Place(t.NamedTuple):
    """The files of one embedded router."""

    socket: str
    """The unix socket that the app's processes join over RawSocket."""

    @property
    def browsers(self) -> str:
        """The unix socket to which the app's processes hand over the connections of browsers."""
        return f"{self.socket}.browsers"

    @property
    def lock(self) -> str:
        """The file that the running router keeps locked."""
        return f"{self.socket}.lock"

    @property
    def starting(self) -> str:
        """The file that is locked by the process that starts a router."""
        return f"{self.socket}.starting"

    @property
    def info(self) -> str:
        """The file with the facts about the running router, as JSON."""
        return f"{self.socket}.json"

    @property
    def log(self) -> str:
        """The file with the warnings and errors of the router that was started last."""
        return f"{self.socket}.log"


def own_place(*identity: str) -> Place:
    """Return the place of an app's own router, in a private folder.

    A router of another version of Flask-WAMP has another place. So a process never joins a router that was
    started before an upgrade and may be incompatible.

    :param identity: The texts that distinguish this app from others. Apps with different texts have different
        places.
    :raises OSError: There is no folder that only this user can enter.
    """
    texts = "\0".join((*identity, __version__))
    digest = hashlib.sha256(texts.encode("utf-8", "surrogateescape")).hexdigest()
    return Place(str(private_folder() / f"{digest[:16]}.sock"))


def place_at(path: str) -> Place:
    """Return the place at a configured path.

    :raises ValueError: The path is too long for a unix socket.
    """
    if len(os.fsencode(path)) > LONGEST_EMBEDDED_PATH:
        raise ValueError(
            f"{path!r} is too long for a unix socket: use at most {LONGEST_EMBEDDED_PATH} bytes"
        )
    return Place(path)


def private_folder() -> Path:
    """Return the folder for the sockets of this user. Create it if it does not exist.

    :raises PermissionError: The path is not a folder, other users may enter it, or it cannot be created.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    uid = os.geteuid()
    if runtime and len(os.fsencode(runtime)) < 40 and _is_private(runtime, uid):
        folder = Path(runtime, "flask-wamp")
    else:
        # Not tempfile.gettempdir(): TMPDIR may be long, and may differ between the processes of one app.
        folder = Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir())
        folder /= f"flask-wamp-{uid}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        pass  # it is not a folder, see below
    except OSError as error:
        raise PermissionError(f"cannot create {folder}: {error.strerror}. {ADVICE}") from error
    if not _is_private(folder, uid):
        raise PermissionError(
            f"{folder} is not a folder that only user {uid} can enter. Remove it, or set another "
            'path with WAMP_ROUTER_URL = "embedded:/path/to/a.sock".'
        )
    return folder


def _is_private(folder: str | Path, uid: int) -> bool:
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == uid
        and not stat.S_IMODE(found.st_mode) & 0o077
    )
