"""The built-in router in a separate process, as a replacement of a Crossbar node."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

from flask_wamp.crossbar import DevRouter

ROOT = Path(__file__).parents[2]


class BuiltInRouter(DevRouter):
    """``flask wamp router``, with the interface of a :class:`DevRouter`.

    The command has one realm, and fewer options than Crossbar's configuration. If a test needs more than
    URLs, ``configured_router.py`` runs the same router with the configuration of a Crossbar node.

    :param arguments: More arguments of the command.
    """

    def __init__(
        self,
        urls: str | t.Sequence[str],
        realm: str = "realm1",
        *,
        log: Path | str | None = None,
        config: t.Mapping[str, t.Any] | None = None,
        arguments: t.Sequence[str] = (),
        **options: t.Any,
    ) -> None:
        super().__init__(urls, realm, crossbar=sys.executable, log=log, config=config, **options)
        self._arguments = arguments
        self._is_plain = config is None and not options

    def _command(self, folder: str) -> list[str]:
        python = ["/usr/bin/env", f"PYTHONPATH={ROOT}", "PYTHONUNBUFFERED=1", sys.executable, "-m"]
        if not self._is_plain:
            return [*python, "tests.support.configured_router", f"{folder}/config.json"]
        urls = [f"--url={url}" for url in self.urls]
        app = ["--app", "tests.support.apps.routed"]
        return [
            *python,
            "flask",
            *app,
            "wamp",
            "router",
            *urls,
            "--realm",
            self.realm,
            *self._arguments,
        ]
