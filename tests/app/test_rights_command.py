"""``flask wamp rights``: the rights, and the lines of code that grant them."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, Identity, WAMPBlueprint, callee
from flask_wamp.cli import wamp as commands

MakeApp = t.Callable[..., Flask]
HERE = "test_rights_command.py"


@pytest.fixture
def rights(make_app: MakeApp) -> t.Callable[..., list[str]]:
    """Run the command. Return its lines."""
    app = make_app(WAMP_ROUTER_URL="ws://127.0.0.1:1/ws")
    wamp = FlaskWAMP(app)
    wamp.allow("anonymous", subscribe=".news")
    wamp.allow("*", publish=".typing")
    wamp.allow("member", subscribe=[".user.{authid}.inbox", ".board."], register=".dev.{role}.x")
    admin = WAMPBlueprint("admin", ".admin", allow="admin")

    @wamp.callee(allow=["member", "admin"])
    def order() -> None: ...

    @wamp.callee
    def secret() -> None: ...

    @admin.callee
    def drop() -> None: ...

    @app.get("/marked")
    @callee(allow="member")
    def marked() -> str:
        return "marked"

    wamp.register_blueprint(admin)

    def run(*args: str, code: int = 0) -> list[str]:
        result = app.test_cli_runner().invoke(commands, ["rights", *args])
        assert result.exit_code == code, result.output
        return result.output.splitlines()

    return run


def rows(lines: list[str]) -> set[tuple[str, ...]]:
    header, *rest = [line.split(maxsplit=3) for line in lines]
    assert header == ["role", "action", "uri", "because of"]
    assert all(HERE in line[3] for line in rest), rest
    return {tuple(line[:3]) for line in rest}


def test_all_rights(rights: t.Callable[..., list[str]]) -> None:
    assert rows(rights()) == {
        ("anonymous", "subscribe", "com.example.news"),
        ("*", "publish", "com.example.typing"),
        ("member", "subscribe", "com.example.user.{authid}.inbox"),
        ("member", "subscribe", "com.example.board."),
        ("member", "register", "com.example.dev.{role}.x"),
        ("member", "call", "com.example.order"),
        ("admin", "call", "com.example.order"),
        ("admin", "call", "com.example.admin.drop"),
        ("member", "call", "com.example.marked"),
    }


@pytest.mark.parametrize(
    ("role", "roles"),
    [
        ("anonymous", {"anonymous"}),
        ("admin", {"admin", "*", "anonymous"}),
        ("unheard-of", {"*", "anonymous"}),
    ],
)
def test_the_rights_of_a_role(
    rights: t.Callable[..., list[str]], role: str, roles: set[str]
) -> None:
    assert {row[0] for row in rows(rights("--as", role))} == roles


def test_a_uri_is_explained(rights: t.Callable[..., list[str]]) -> None:
    lines = rights(".order")
    assert len(lines) == 4 * 4  # actions, roles
    yes = [line for line in lines if " may not " not in line]
    assert [line.split(":")[0] for line in yes] == [
        "admin may call com.example.order",
        "member may call com.example.order",
    ]
    assert all("order" in line and HERE in line for line in yes)
    assert (
        "everybody (anonymous) may not call com.example.order: nothing allows it. "
        "Add wamp.allow('anonymous', call='com.example.order')" in lines
    )


@pytest.mark.parametrize(
    ("uri", "role", "allowed"),
    [
        ("com.example.secret", "member", []),
        ("com.example.news", "admin", ["subscribe to"]),
        ("com.example.typing", "admin", ["publish to"]),
        ("com.example.typing", "anonymous", []),
        ("com.example.board.x", "member", ["subscribe to"]),
        ("com.example.board.", "member", ["subscribe to"]),
        ("com.example.", "member", []),
        ("com.example..x", "member", []),
        ("com.example.dev.member.x", "member", ["register"]),
        ("com.example.dev.admin.x", "member", []),
        ("wamp.session.list", "member", []),
    ],
)
def test_what_a_role_may_do_at_a_uri(
    rights: t.Callable[..., list[str]], uri: str, role: str, allowed: list[str]
) -> None:
    lines = rights("--as", role, uri)
    found = [line for line in lines if " may not " not in line]
    assert [line.split(" may ")[1].split(f" {uri}")[0] for line in found] == allowed


def test_an_authid_is_a_condition(rights: t.Callable[..., list[str]]) -> None:
    lines = rights("--as", "member", ".user.ann.inbox")
    assert any(
        line.startswith(
            "member may subscribe to com.example.user.ann.inbox, if the authid is 'ann': "
        )
        for line in lines
    )


@pytest.mark.parametrize("authid", ["ann@x.org", "a.b.c.d"])
def test_a_dot_in_an_authid_is_the_reason(rights: t.Callable[..., list[str]], authid: str) -> None:
    lines = rights("--as", "member", f".user.{authid}.inbox")
    [line] = [line for line in lines if " subscribe " in line]
    assert line.startswith(
        f"member may not subscribe to com.example.user.{authid}.inbox: the right for "
        "'com.example.user.{authid}.inbox' ("
    )
    assert line.endswith(
        f"does not apply to the authid {authid!r}, because it contains a dot. Use an authid without dots, "
        "such as str(user.id)"
    )
    assert all("nothing allows it" in other for other in lines if other != line)


@pytest.mark.parametrize("uri", ["com.example.a b", "com.example.#", "com.<"])
def test_an_invalid_uri(rights: t.Callable[..., list[str]], uri: str) -> None:
    assert rights(uri, code=1)[0].startswith("Error: ")


def test_authorizers_are_named(make_app: MakeApp) -> None:
    app = make_app(WAMP_ROUTER_URL="ws://127.0.0.1:1/ws")
    wamp = FlaskWAMP(app)
    reports = WAMPBlueprint("reports", ".reports", allow="admin")

    @reports.callee
    def sales() -> None: ...

    @reports.authorizer
    def may_report(identity: Identity, action: str, uri: str, options: object) -> None: ...

    @wamp.authorizer
    def may(identity: Identity, action: str, uri: str, options: object) -> None: ...

    wamp.register_blueprint(reports)

    def run(*args: str) -> str:
        return app.test_cli_runner().invoke(commands, ["rights", *args]).output

    header, row, *_ = run().splitlines()
    assert row.split()[:3] == ["admin", "call", "com.example.reports.sales"]
    assert "sales" in row and HERE in row
    everything = run()
    assert everything.index("may_report") < everything.index("everywhere: ")
    assert "below com.example.reports: " in everything
    assert "may_report" in run(".reports.sales")
    assert "may_report" in run("com.")
    assert "may_report" not in run(".other")
    assert "everywhere: " in run(".other")


def test_an_app_without_rights_reads_how_to_grant_some(make_app: MakeApp) -> None:
    app = make_app(WAMP_ROUTER_URL="ws://127.0.0.1:1/ws")
    FlaskWAMP(app)
    output = app.test_cli_runner().invoke(commands, ["rights"]).output
    assert output.startswith(
        "No rights are granted to clients other than the app's processes. Grant"
    )
    output = app.test_cli_runner().invoke(commands, ["rights", "--as", "member"]).output
    assert output.startswith("No rights are granted to the role member.")
