"""Install the other WAMP clients in the user's cache folder: ``python -m tests.interop.install``.

npm installs the clients for Node. xconn gets a separate environment, because it needs a dozen packages that
the tests do not. This is done once, and again when the requirements change.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from flask_wamp.crossbar import crossbar_home, crossbar_python

HERE = Path(__file__).parent
HOME = crossbar_home().with_name("interop")
PACKAGES = HERE / "package.json"
REQUIREMENTS = HERE / "requirements.txt"

OLDEST_NODE = 18
OLDEST_PYTHON = (3, 11)
"""The requirements of wampy.js and xconn."""

#: Written last, with the installed requirements.
_MARKER = "complete"


class Absent(Exception):
    """A client is not installed. The message says why."""


def node() -> tuple[str, Path]:
    """Node, and the folder of its packages.

    :raises Absent: One of them is not installed.
    """
    home = HOME / "node"
    if not _is_complete(home, PACKAGES):
        raise Absent("the clients in Node are not installed: run `python -m tests.interop.install`")
    return _node(), home / "node_modules"


def xconn() -> Path:
    """The Python with xconn.

    :raises Absent: There is none.
    """
    home = HOME / "xconn"
    if not _is_complete(home, REQUIREMENTS):
        raise Absent("xconn is not installed: run `python -m tests.interop.install`")
    return home / "bin" / "python"


def versions() -> dict[str, str]:
    """The installed releases."""
    executable, modules = node()
    crossbar = crossbar_python()
    assert crossbar is not None
    return {
        "Crossbar.io": _python_version(crossbar, "crossbar"),
        "autobahn-python": _python_version(crossbar, "autobahn"),
        "autobahn-js": _node_version(modules / "autobahn"),
        "wampy.js": _node_version(modules / "wampy"),
        "xconn": _python_version(xconn(), "xconn"),
        "Node": _run([executable, "--version"]).strip().lstrip("v"),
    }


def _node_version(package: Path) -> str:
    return str(json.loads((package / "package.json").read_text())["version"])


def _python_version(python: Path, package: str) -> str:
    program = f"import importlib.metadata as m; print(m.version({package!r}))"
    return _run([str(python), "-c", program]).strip()


def _is_complete(home: Path, wanted: Path) -> bool:
    marker = home / _MARKER
    return marker.is_file() and marker.read_text() == wanted.read_text()


def _node() -> str:
    executable = shutil.which("node")
    if executable is None:
        raise Absent("there is no Node: `node` is not on PATH")
    version = _run([executable, "--version"]).strip()
    if int(version.lstrip("v").split(".")[0]) < OLDEST_NODE:
        raise Absent(f"Node is {version}, and the clients ask for {OLDEST_NODE}")
    return executable


def _install_node(home: Path) -> None:
    _node()
    npm = shutil.which("npm")
    if npm is None:
        raise Absent("there is no npm on PATH")
    home.mkdir(parents=True)
    shutil.copy(PACKAGES, home)
    # No install scripts: they build optional extensions, which need a compiler.
    options = [
        "--ignore-scripts",
        "--no-package-lock",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]
    _run([npm, "install", *options], cwd=home)


def _install_xconn(home: Path) -> None:
    python = Path(sys.executable) if sys.version_info >= OLDEST_PYTHON else crossbar_python()
    if python is None:
        raise Absent("xconn asks for Python 3.11, and there is none: build Crossbar first")
    _run([str(python), "-m", "venv", str(home)])
    command = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    _run([*command, "--disable-pip-version-check", "--requirement", str(REQUIREMENTS)])


def _run(command: list[str], cwd: Path | None = None) -> str:
    # These variables are for this Python, not for another one.
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        raise Absent(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def install() -> None:
    """Install missing clients. Two processes that do so at the same time install them once."""
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name, wanted, make in (
            ("node", PACKAGES, _install_node),
            ("xconn", REQUIREMENTS, _install_xconn),
        ):
            home = HOME / name
            if not _is_complete(home, wanted):
                print(f"Installing what {wanted.name} asks for in {home}", flush=True)
                shutil.rmtree(home, ignore_errors=True)
                make(home)
                (home / _MARKER).write_text(wanted.read_text())
            print(f"{home} is complete", flush=True)


if __name__ == "__main__":
    try:
        install()
    except Absent as error:
        sys.exit(f"Error: {error}")
