"""What pip sees of the package."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from importlib.resources import files

import pytest

try:
    DISTRIBUTION = metadata.distribution("flask-wamp")
except metadata.PackageNotFoundError:
    pytestmark = pytest.mark.skip("flask-wamp is not installed")


def test_requirements_have_lower_bounds_only() -> None:
    for requirement in DISTRIBUTION.requires or []:
        specifier = requirement.partition(";")[0]
        assert not {"==", "<", "~="} & set(specifier), requirement


def test_the_flask_command_is_an_entry_point() -> None:
    (command,) = metadata.entry_points(group="flask.commands", name="wamp")
    assert command.load().name == "wamp"


def test_no_pytest_plugin_loads_by_itself() -> None:
    assert not [point for point in DISTRIBUTION.entry_points if point.group == "pytest11"]


def test_the_package_says_that_it_is_typed() -> None:
    assert files("flask_wamp").joinpath("py.typed").is_file()


def test_pytest_is_imported_by_the_testing_module_only() -> None:
    script = "import sys, flask_wamp.cli, flask_wamp.crossbar; print('pytest' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
