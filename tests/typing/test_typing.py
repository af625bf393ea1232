"""What type checkers see: handlers keep their types, and mistakes are found before the app runs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import typing as t
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ACCEPTED, REFUSED = HERE / "accepted.py", HERE / "refused.py"

CHECKERS = ("mypy", "pyright")
MISSING = [name for name in CHECKERS if importlib.util.find_spec(name) is None]

pytestmark = pytest.mark.slow
if MISSING and not os.environ.get("FLASK_WAMP_REQUIRE_TYPING"):
    pytestmark = pytest.mark.skip(f"needs {' and '.join(MISSING)}: tox -e typing has them")

#: What is said about a line: whether it is an error, and the text.
Said = dict[int, list[tuple[bool, str]]]


def run(*command: str, cwd: Path) -> str:
    environ = {**os.environ, "MYPYPATH": str(ROOT), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    arguments = [sys.executable, "-m", *command]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environ, cwd=cwd)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def mypy(path: Path, tmp_path: Path) -> Said:
    output = run(
        "mypy",
        "--strict",
        "--config-file=",
        "--output=json",
        f"--cache-dir={tmp_path}",
        "--explicit-package-bases",
        "--allow-empty-bodies",
        "--follow-imports=silent",
        "--ignore-missing-imports",
        str(path),
        cwd=ROOT,
    )
    said: Said = {}
    for entry in map(json.loads, output.splitlines()):
        about = said.setdefault(entry["line"], [])
        about.append((entry["severity"] == "error", entry["message"]))
    return said


def pyright(path: Path, tmp_path: Path) -> Said:
    config = {
        "include": [path.name],
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "strict",
        "reportUnusedFunction": False,
        "reportUnusedExpression": False,
        "reportReturnType": False,  # bodies are left out
    }
    shutil.copy(path, tmp_path)  # pyright takes no files from outside of its project
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    arguments = ["--outputjson", "--pythonpath", sys.executable, "--project", str(tmp_path)]
    found = json.loads(run("pyright", *arguments, cwd=tmp_path))
    assert found["summary"]["filesAnalyzed"] == 1
    said: Said = {}
    for entry in found["generalDiagnostics"]:
        about = said.setdefault(entry["range"]["start"]["line"] + 1, [])
        about.append((entry["severity"] == "error", entry["message"]))
    return said


CHECK: dict[str, t.Callable[[Path, Path], Said]] = {"mypy": mypy, "pyright": pyright}


def commented(path: Path, marker: str) -> dict[int, str]:
    """The comments of lines that match, by line."""
    lines = enumerate(path.read_text().splitlines(), 1)
    return {number: line.split("# ", 1)[1] for number, line in lines if re.search(marker, line)}


def normal(message: str) -> str:
    """A revealed type as both checkers would write it, without modules and defaults."""
    quoted = re.search(r'(?:Revealed type is|Type of .* is) "(.*)"', message)
    assert quoted is not None, message
    text = re.sub(r"\b(?:[A-Za-z_]+\.)+(?=[A-Za-z_])", "", quoted[1])
    text = text.removeprefix("def ").replace("CoroutineType[", "Coroutine[")
    if text.startswith("(") and "->" not in text:  # mypy leaves it out
        text += " -> None"
    return re.sub(r"-> \((.*)\)$", r"-> \1", text)


@pytest.mark.parametrize("checker", CHECKERS)
def test_decorators_return_what_they_are_given(checker: str, tmp_path: Path) -> None:
    said = CHECK[checker](ACCEPTED, tmp_path)
    errors = {line: text for line, about in said.items() for is_error, text in about if is_error}
    assert errors == {}
    expected = commented(ACCEPTED, r"^reveal_type\(.*  # ")
    assert len(expected) == 37
    revealed = {
        line: normal(text)
        for line, about in said.items()
        for _, text in about
        if "eveal" in text or text.startswith("Type of")
    }
    assert revealed == expected


@pytest.mark.parametrize("checker", CHECKERS)
def test_mistakes_are_found(checker: str, tmp_path: Path) -> None:
    said = CHECK[checker](REFUSED, tmp_path)
    found = {line for line, about in said.items() if any(is_error for is_error, _ in about)}
    expected = commented(REFUSED, "# refused: ")
    assert len(expected) == 40
    assert {line: expected[line] for line in expected.keys() - found} == {}, "not found"
    assert {line: said[line] for line in found - expected.keys()} == {}, "found for nothing"


def assert_no_errors(path: Path, tmp_path: Path) -> None:
    """Check a file as mypy does by default, and functions without annotations too."""
    command = ["mypy", "--config-file=", "--check-untyped-defs", f"--cache-dir={tmp_path}"]
    flags = ["--ignore-missing-imports", "--follow-imports=silent"]
    output = run(*command, *flags, str(path), cwd=ROOT)
    assert output.startswith("Success"), output


EXAMPLES = ("background", "hooks", "presence", "quickstart", "schedule", "sse")


def test_the_examples_have_no_type_errors(tmp_path: Path) -> None:
    for name in EXAMPLES:  # one by one: all are called app
        assert_no_errors(ROOT / "examples" / name / "app.py", tmp_path)


SNIPPET = re.compile(r"\.\. code-block:: python\n    :name: \S+\n\n((?:    .*\n|\n)+)")


@pytest.mark.parametrize("page", ["README", "docs/handlers", "docs/client", "docs/background"])
def test_the_snippets_have_no_type_errors(page: str, tmp_path: Path) -> None:
    snippets = SNIPPET.findall((ROOT / f"{page}.rst").read_text())
    assert snippets
    path = tmp_path / "snippets.py"
    text = "\n".join(map(textwrap.dedent, snippets))
    path.write_text(
        text.replace("from app import app\n", "")
    )  # the app of the page is in this file
    assert_no_errors(path, tmp_path)
