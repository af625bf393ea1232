"""Find Crossbar.io, or build it an environment of its own.

Crossbar cannot live in the app's environment: it brings some 140 packages and pins a few of them
to old releases. So it is looked for in three places, in this order: where ``FLASK_WAMP_CROSSBAR``
points, on ``PATH``, and in ``flask-wamp/crossbar`` in the user's cache folder.
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
"""What is installed: the release this library is tested with."""

OLDEST_PYTHON = (3, 11)
"""The oldest Python Crossbar runs on."""

#: Written last: an environment without it was left half-built.
_MARKER = "flask-wamp-complete"

#: ``sys.executable`` comes before these, in the order in which Crossbar's dependencies have wheels.
_PYTHONS = ("python3.12", "python3.11", "python3.13", "python3.14", "python3")

_PROBE = "import sys, venv; print(*sys.version_info[:2])"

Echo = t.Callable[[str], object]
"""Tells the person at the terminal something, one line at a time."""

say: Echo = functools.partial(print, flush=True)
"""The :data:`Echo` where none is given."""


def ensure_crossbar(echo: Echo = say) -> Path:
    """Find Crossbar's executable, and build its environment where there is none.

    :param echo: Called with each line of progress.
    :raises RouterError: It is not there and cannot be built.
    """
    return find_crossbar() or build_crossbar(echo)


def find_crossbar() -> Path | None:
    """Find Crossbar's executable; None where there is none.

    :raises RouterError: ``FLASK_WAMP_CROSSBAR`` names something else.
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
    """Return the path of the environment that :func:`build_crossbar` builds. It need not exist."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "flask-wamp" / "crossbar"


def crossbar_python(crossbar: Path | None = None) -> Path | None:
    """Return the Python that runs Crossbar. It has autobahn and all serializers.

    :param crossbar: Crossbar's executable; found by :func:`find_crossbar` when not given.
    :returns: None where there is no Crossbar, or no Python beside it.
    """
    crossbar = crossbar or find_crossbar()
    python = crossbar and crossbar.resolve().with_name("python")
    return python if python and os.access(python, os.X_OK) else None


def build_crossbar(echo: Echo = say, *, python: str | None = None) -> Path:
    """Build Crossbar's own environment in the user's cache folder, unless it is there.

    Takes a minute or two and about 380 MB, once. Two processes that ask at the same time build
    it once. What is left after a failure is removed.

    :param echo: Called with each line of progress.
    :param python: The Python to build it with; one that is new enough is looked for by default.
    :raises RouterError: With a sentence that says what is missing.
    """
    home = crossbar_home()
    with _lock(home) as locked:
        if not locked.acquire(wait=False):
            echo(f"Another process is building {home}: waiting for it.")
            locked.acquire(wait=True)
        if not _is_complete(home):
            _build(home, python or _find_python(), echo)
    return _executable(home)


# Where it is.


def _named(path: Path) -> Path:
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise RouterError(f"FLASK_WAMP_CROSSBAR names {path}, which is not an executable file")
    return path.absolute()


def _executable(home: Path) -> Path:
    return home / "bin" / "crossbar"


def _is_complete(home: Path) -> bool:
    """Whether the environment was built to its end, and its Python is still there."""
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
    """Hold a lock beside the environment. The kernel releases it when the process dies."""
    home.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(home.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield _Lock(fd)
    finally:
        os.close(fd)


# How it is built.


def _build(home: Path, python: str, echo: Echo) -> None:
    echo(f"Building an environment for Crossbar.io in {home}")
    echo("(about 380 MB, a minute or two, once)")
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
        f"Crossbar.io needs Python {oldest} or newer, and there is none on PATH: install one "
        "(the app may keep its own), or name a Crossbar with FLASK_WAMP_CROSSBAR"
    )


def _candidates() -> t.Iterator[str]:
    yield sys.executable
    for name in _PYTHONS:
        for folder in os.get_exec_path():
            candidate = Path(folder) / name
            if os.access(candidate, os.X_OK):
                yield str(candidate)


def _version(python: str) -> tuple[int, ...]:
    """Return the version of a Python that can make environments; ``()`` if it does not run.

    The shim of a version manager exists and is executable even if it fails, so it has to be run.
    """
    try:
        answer = _run([python, "-c", _PROBE])
        return tuple(map(int, answer.stdout.split())) if answer.returncode == 0 else ()
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ()


def _create_environment(python: str, home: Path) -> list[str]:
    """Create an empty environment; return the command that is pip in it."""
    created = _run([python, "-m", "venv", str(home)])
    inside = str(home / "bin" / "python")
    if created.returncode == 0:
        return [inside, "-m", "pip"]
    # Debian splits ensurepip off into python3-venv: then our own pip installs into the new one.
    _run([python, "-m", "venv", "--clear", "--without-pip", str(home)])
    borrowed = [sys.executable, "-m", "pip", "--python", inside]
    if _runs([*borrowed, "--version"]):
        return borrowed
    last = (created.stdout + created.stderr).strip().splitlines()[-1:] or ["no reason given"]
    raise RouterError(
        f"{python} cannot create an environment ({last[0].strip()}): "
        "on Debian and Ubuntu, apt install python3-venv"
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
