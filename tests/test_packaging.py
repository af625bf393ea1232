"""The metadata of the package."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

try:
    DISTRIBUTION = metadata.distribution("flask-wamp")
except metadata.PackageNotFoundError:
    pytestmark = pytest.mark.skip("flask-wamp is not installed")


def test_requirements_have_lower_bounds_only() -> None:
    for requirement in DISTRIBUTION.requires or []:
        specifier = requirement.partition(";")[0]
        assert not {"==", "<", "~="} & set(specifier), requirement


def test_the_lower_bounds_are_the_versions_that_tox_tries() -> None:
    setup, tox = configparser.ConfigParser(), configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    tox.read(ROOT / "tox.ini")
    lines = setup["options"]["install_requires"].splitlines()
    for extra, required in setup["options.extras_require"].items():
        # wampy comes without its dependencies, in commands_pre; "wampyextra" installs it with them.
        lines += required.splitlines() if extra != "wampy" else []
    bounds = {tuple(line.split(">=")) for line in lines if ">=" in line and "#" not in line}
    pins = {
        tuple(line.split("=="))
        for line in tox["testenv:minimum"]["deps"].splitlines()
        if "==" in line and "#" not in line
    }
    assert len(bounds) > 9
    assert pins == {*bounds, ("Werkzeug", "2.3.0")}


def test_the_minimum_environment_has_the_lower_bounds() -> None:
    if os.environ.get("TOX_ENV_NAME") != "minimum":
        pytest.skip("only in tox -e minimum")
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    pins = [
        line.split("==") for line in tox["testenv:minimum"]["deps"].splitlines() if "==" in line
    ]
    assert {name: metadata.version(name) for name, _ in pins} == dict(pins)


def test_the_flask_command_is_an_entry_point() -> None:
    (command,) = metadata.entry_points(group="flask.commands", name="wamp")
    assert command.load().name == "wamp"


def test_the_pytest_plugin_is_an_entry_point_outside_the_package() -> None:
    # A plugin that loads by itself is imported by every run of pytest where Flask-WAMP is installed, also
    # in projects that do not use it. So it must be a module of its own: importing a module of the package
    # would import Flask. tests/testclient/test_plugin.py measures what it imports.
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["options.entry_points"]["pytest11"].strip() == "flask_wamp = flask_wamp_pytest"
    assert setup["options"]["py_modules"] == "flask_wamp_pytest"
    points = [point for point in DISTRIBUTION.entry_points if point.group == "pytest11"]
    assert {point.value for point in points} <= {"flask_wamp_pytest"}


def test_the_package_says_that_it_is_typed() -> None:
    assert files("flask_wamp").joinpath("py.typed").is_file()


def test_pytest_is_imported_by_the_testing_module_only() -> None:
    script = "import sys, flask_wamp.cli, flask_wamp.crossbar; print('pytest' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
