"""Find Crossbar.io, or build a separate environment for it.

Crossbar cannot be installed in the app's environment: it requires about 140 packages and pins some of them to
old releases. It is searched for in three places, in this order: the path in ``FLASK_WAMP_CROSSBAR``, the
folders in ``PATH``, and ``flask-wamp/crossbar`` in the user's cache folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

from . import pip
from .errors import RouterError

REQUIREMENT = "crossbar==26.10.1"
"""The requirement to install. This library is tested with this release."""

OLDEST_PYTHON = (3, 11)
"""The oldest Python that Crossbar supports."""

#: This file is written last. If it is missing, the environment is incomplete.
_MARKER = "flask-wamp-complete"

#: The Pythons to try after ``sys.executable``. Those for which Crossbar's dependencies have wheels come
#: first.
_PYTHONS = ("python3.12", "python3.11", "python3.13", "python3.14", "python3")

_PROBE = "import sys, venv; print(*sys.version_info[:2])"

Echo = t.Callable[[str], object]
"""Prints one line for the user at the terminal."""

say: Echo = functools.partial(print, flush=True)
"""The default :data:`Echo`."""


def ensure_crossbar(echo: Echo = say) -> Path:
    """Return the path of Crossbar's executable. Build its environment if Crossbar is not installed.

    :param echo: Called with each line of progress.
    :raises RouterError: Crossbar is not installed, and its environment cannot be built.
    """
    return find_crossbar() or build_crossbar(echo)


def find_crossbar() -> Path | None:
    """Return the path of Crossbar's executable. None if Crossbar is not installed.

    :raises RouterError: ``FLASK_WAMP_CROSSBAR`` is not the path of an executable file.
    """
    named = os.environ.get("FLASK_WAMP_CROSSBAR")
    if named:
        return _named(Path(named).expanduser())
    on_path = shutil.which("crossbar")
    if on_path:
        return Path(on_path)
    home = crossbar_home()
    return _executable(home) if _is_complete(home) or _adopt(home) else None


def crossbar_home() -> Path:
    """Return the path of the environment that :func:`build_crossbar` builds. It may not exist yet."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "flask-wamp" / "crossbar"


def crossbar_python(crossbar: Path | None = None) -> Path | None:
    """Return the path of the Python that runs Crossbar. Autobahn and all serializers are installed there.

    :param crossbar: Crossbar's executable. :func:`find_crossbar` finds it by default.
    :returns: None if there is no Crossbar, or no Python in the same folder.
    """
    crossbar = crossbar or find_crossbar()
    python = crossbar and crossbar.resolve().with_name("python")
    return python if python and os.access(python, os.X_OK) else None


def build_crossbar(echo: Echo = say, *, python: str | None = None) -> Path:
    """Build Crossbar's environment in the user's cache folder, unless it exists.

    This takes a minute or two and about 380 MB. If two processes call this at the same time, only one of them
    builds the environment. An incomplete environment is removed after a failure.

    :param echo: Called with each line of progress.
    :param python: The Python to build it with. By default, one that is new enough is searched for.
    :raises RouterError: The environment cannot be built. The text says what is missing.
    """
    home = crossbar_home()
    with _lock(home) as locked:
        if not locked.acquire(wait=False):
            echo(f"Waiting for another process that is building {home}.")
            locked.acquire(wait=True)
        if not _is_complete(home):
            _build(home, python or _find_python(), echo)
    return _executable(home)


# Finding Crossbar.


def _named(path: Path) -> Path:
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise RouterError(f"FLASK_WAMP_CROSSBAR names {path}, which is not an executable file")
    return path.absolute()


def _executable(home: Path) -> Path:
    return home / "bin" / "crossbar"


def _is_complete(home: Path) -> bool:
    """Return whether the environment is complete, and its Python still exists."""
    return (home / _MARKER).is_file() and (home / "bin" / "python").exists()


def _adopt(home: Path) -> bool:
    """Use an environment that has no marker, if it works and no process is building it."""
    if not _executable(home).exists():
        return False
    with _lock(home) as locked:
        if not locked.acquire(wait=False) or not _runs([str(_executable(home)), "version"]):
            return False
        (home / _MARKER).write_text("")
    return True


class _Lock:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def acquire(self, *, wait: bool) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True


@contextlib.contextmanager
def _lock(home: Path) -> t.Iterator[_Lock]:
    """Open the lock file of the environment. The kernel releases the lock when the process ends."""
    home.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(home.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield _Lock(fd)
    finally:
        os.close(fd)


# Building the environment.


def _build(home: Path, python: str, echo: Echo) -> None:
    echo(f"Building an environment for Crossbar.io in {home}")
    echo("(This happens only once. It takes a minute or two, and about 380 MB.)")
    try:
        shutil.rmtree(home, ignore_errors=True)
        command = _create_environment(python, home)
        pip.install(command, REQUIREMENT, log=home.with_suffix(".log"), echo=echo)
        if not _executable(home).exists():
            raise RouterError(f"pip installed {REQUIREMENT}, but there is no {_executable(home)}")
        (home / _MARKER).write_text(f"{REQUIREMENT}\n")
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    echo("Crossbar.io is ready to use.")


def _find_python() -> str:
    for candidate in _candidates():
        if _version(candidate) >= OLDEST_PYTHON:
            return candidate
    oldest = ".".join(map(str, OLDEST_PYTHON))
    raise RouterError(
        f"Crossbar.io needs Python {oldest} or newer, and there is none on PATH. Install one (your app can "
        "use another), or set FLASK_WAMP_CROSSBAR to the path of a crossbar executable"
    )


def _candidates() -> t.Iterator[str]:
    yield sys.executable
    for name in _PYTHONS:
        for folder in os.get_exec_path():
            candidate = Path(folder) / name
            if os.access(candidate, os.X_OK):
                yield str(candidate)


def _version(python: str) -> tuple[int, ...]:
    """Return the version of a Python that has the module ``venv``. Return ``()`` if it does not run.

    The shim of a version manager is an executable file even if its Python is not installed, so it must be
    run.
    """
    try:
        answer = _run([python, "-c", _PROBE])
        return tuple(map(int, answer.stdout.split())) if answer.returncode == 0 else ()
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ()


def _create_environment(python: str, home: Path) -> list[str]:
    """Create an empty environment. Return the command that runs pip in it."""
    created = _run([python, "-m", "venv", str(home)])
    inside = str(home / "bin" / "python")
    if created.returncode == 0:
        return [inside, "-m", "pip"]
    # Debian has ensurepip in another package, python3-venv. Without it, use the pip of this environment.
    _run([python, "-m", "venv", "--clear", "--without-pip", str(home)])
    borrowed = [sys.executable, "-m", "pip", "--python", inside]
    if _runs([*borrowed, "--version"]):
        return borrowed
    last = (created.stdout + created.stderr).strip().splitlines()[-1:] or ["no reason given"]
    raise RouterError(
        f"{python} cannot create an environment ({last[0].strip()}). "
        "On Debian and Ubuntu, run: apt install python3-venv"
    )


def _runs(command: list[str]) -> bool:
    try:
        return _run(command).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        env=pip.clean_environ(),
    )
