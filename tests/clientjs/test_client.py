"""``client.js`` in Node against a real router, and its types in TypeScript."""

from __future__ import annotations

import os
import subprocess
import typing as t
from pathlib import Path

import pytest

from flask_wamp.endpoint.module import client_d_ts, client_js
from tests.clientjs import minify
from tests.interop import install

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.interop

HERE = Path(__file__).parent
TIMEOUT = 120


@pytest.fixture(scope="session")
def node() -> tuple[str, Path]:
    """Node, and the folder of its packages."""
    try:
        return install.node()
    except install.Absent as absent:
        if os.environ.get("FLASK_WAMP_REQUIRE_NODE") == "1":
            pytest.fail(f"{absent}, and FLASK_WAMP_REQUIRE_NODE=1 asks for it", pytrace=False)
        pytest.skip(str(absent))


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """Write the module and its types to files, as they are served."""
    (tmp_path / "client.d.ts").write_text(client_d_ts())
    (tmp_path / "package.json").write_text('{"type": "module"}')
    path = tmp_path / "client.js"
    path.write_text(client_js())
    return path


def run(*command: str, **environ: str) -> None:
    done = subprocess.run(
        command,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stdout


def test_the_module_is_small() -> None:
    assert len(client_js().encode()) < 10_000


def test_the_module_is_made_from_the_present_source() -> None:
    made = minify.MADE.read_text("utf-8")
    assert made.startswith(minify.header()), "run python -m tests.clientjs.minify"


def test_in_node(node: tuple[str, Path], module: Path, wamp_router: DevRouter) -> None:
    executable, modules = node
    sockets = str(HERE / "sockets.mjs")
    command = (executable, "--no-warnings", "--import", sockets, "--test")
    environ = {"WAMP_URL": wamp_router.url, "CLIENT": str(module), "NODE_MODULES": str(modules)}
    run(*command, str(HERE / "client.test.mjs"), **environ)


def test_an_environment_without_websocket_is_an_error(
    node: tuple[str, Path], module: Path, tmp_path: Path
) -> None:
    program = tmp_path / "program.mjs"
    program.write_text(f"""
        import {{ connect }} from {str(module)!r};
        delete globalThis.WebSocket;
        const error = await connect("ws://127.0.0.1:1/ws").catch((error) => error);
        if (error.message !== "WebSocket is not defined") throw error;
    """)
    run(node[0], str(program))


def test_types(node: tuple[str, Path], module: Path) -> None:
    executable, modules = node
    use = module.with_name("use.ts")
    use.write_text((HERE / "use.ts").read_text())
    options = "--strict --noEmit --target es2022 --module nodenext --lib es2022,dom,dom.iterable"
    tsc = str(modules / "typescript" / "bin" / "tsc")
    run(executable, tsc, *options.split(), "--types", "", str(use))
