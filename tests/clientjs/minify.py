"""Make ``client.min.js``, which is served, from ``client.js``: ``python -m tests.clientjs.minify``.

Run this after each change of ``client.js``. It needs the packages of ``python -m tests.interop.install``.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import flask_wamp
from tests.interop import install

FOLDER = Path(flask_wamp.__file__).parent / "endpoint"
SOURCE, MADE = FOLDER / "client.js", FOLDER / "client.min.js"

#: Names at the top level are kept, because stack traces and errors show them.
OPTIONS = ("--compress", "passes=3,module=true,ecma=2022", "--mangle", "toplevel=false")


def header() -> str:
    """Return the first line of the file for the present source."""
    digest = hashlib.sha256(SOURCE.read_text("utf-8").encode()).hexdigest()
    return f"// Made from client.js by python -m tests.clientjs.minify. sha256: {digest}\n"


def main() -> None:
    """Write the file."""
    node, modules = install.node()
    command = [node, str(modules / "terser" / "bin" / "terser"), str(SOURCE), *OPTIONS]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    MADE.write_text(f"{header()}{done.stdout.strip()}\n", "utf-8")
    print(f"{MADE}: {len(done.stdout.encode())} bytes")


if __name__ == "__main__":
    main()
